"""Models in the warehouse: versions, states and why, blobs, reports; which one judges, and which one did before."""

from models.registry.blobs import export_blob, import_blob, read_artifact, read_blob, read_report
from models.registry.champions import Judging, load_champion
from models.registry.changing import Draft, prune, register
from models.registry.deciding import decide, environment, promote, roll_back
from models.registry.records import Change, Model, State, champion, find_model, list_models, read_changes

__all__ = [
    "Change",
    "Draft",
    "Judging",
    "Model",
    "State",
    "champion",
    "decide",
    "environment",
    "export_blob",
    "find_model",
    "import_blob",
    "list_models",
    "load_champion",
    "promote",
    "prune",
    "read_artifact",
    "read_blob",
    "read_changes",
    "read_report",
    "register",
    "roll_back",
]
