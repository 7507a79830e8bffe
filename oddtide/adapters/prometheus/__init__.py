"""A worker's metrics for Prometheus, and the HTTP server that shows them with liveness and readiness."""

from oddtide.adapters.prometheus.metrics import PrometheusMetrics, WorkerInfo
from oddtide.adapters.prometheus.server import MetricsServer

__all__ = ["MetricsServer", "PrometheusMetrics", "WorkerInfo"]
