"""Airflow's side of Chandler: Connections to settings, our errors to Airflow's, and what the tasks do.

Airflow puts `plugins/` on `sys.path`, so DAG files import this as `chandler_airflow`. Nothing here is imported by etl.
"""
