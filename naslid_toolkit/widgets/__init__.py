"""Dashboards for JupyterLab: LID curves, split trees, running searches, rankings, cells."""
