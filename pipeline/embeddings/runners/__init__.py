"""Where the work is done: on this machine, or on many."""

from pipeline.config.runner import RayRunnerSettings, RunnerSettings
from pipeline.embeddings.runners.base import Runner
from pipeline.embeddings.runners.local import LocalRunner


def open_runner(settings: RunnerSettings) -> Runner:
    """Return the runner that the settings name: `open_runner(config.runner)`."""
    if isinstance(settings, RayRunnerSettings):
        from pipeline.embeddings.runners.ray import RayRunner

        return RayRunner(settings)
    return LocalRunner()


def check_runner(settings: RunnerSettings) -> None:
    """Make sure that what a runner needs is installed, before work is done that ends there.

    Raises:
        ConfigError: it is not.
    """
    if isinstance(settings, RayRunnerSettings):
        from pipeline.embeddings.runners.cluster import import_ray

        import_ray()
