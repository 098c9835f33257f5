"""Models in the warehouse: versions, states and why, blobs, reports; which one judges, and which one did before."""

from models.registry.blobs import export_blob, import_blob, read_artifact, read_blob, read_report
from models.registry.champions import Judging, load_champion, read_good
from models.registry.changing import Draft, prune, register
from models.registry.deciding import decide, environment, promote, roll_back
from models.registry.eras import Era, can_judge, era_of, eras_of
from models.registry.records import (
    Change,
    Model,
    State,
    champion,
    find_model,
    latest_models,
    list_models,
    model_of,
    read_changes,
)

__all__ = [
    "Change",
    "Draft",
    "Era",
    "Judging",
    "Model",
    "State",
    "can_judge",
    "champion",
    "decide",
    "environment",
    "era_of",
    "eras_of",
    "export_blob",
    "find_model",
    "import_blob",
    "latest_models",
    "list_models",
    "model_of",
    "load_champion",
    "promote",
    "prune",
    "read_artifact",
    "read_blob",
    "read_changes",
    "read_good",
    "read_report",
    "register",
    "roll_back",
]
