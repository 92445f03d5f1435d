"""Anomaly detection: networks fitted to good scans only."""

from train.anomaly.fit import fit_anomaly
from train.anomaly.options import AnomalyOptions

__all__ = ["AnomalyOptions", "fit_anomaly"]
