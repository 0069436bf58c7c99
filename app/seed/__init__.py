"""Data to start with: the demo shop of development, and the many rows of the benchmark."""

from app.seed.benchmark import seed_benchmark
from app.seed.demo import seed_demo
from app.seed.loading import SeedReport

__all__ = ["SeedReport", "seed_benchmark", "seed_demo"]
