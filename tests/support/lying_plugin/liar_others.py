"""Trackers and launchers that hang, raise or ask to exit."""

from liar_hanging import hang, maybe

from interp_registry.contracts.launcher import LauncherCapabilities


class Tracker:
    """Hangs in the method that is its lie."""

    def __init__(self, config):
        self.lie = config.lie
        self.at("building")

    def at(self, method):
        maybe(self.lie)
        if self.lie == method:
            hang()

    def start(self, run):
        self.at("start")

    def log(self, values, step):
        self.at("log")

    def image(self, name, png, step):
        self.at("image")

    def close(self):
        self.at("close")


class Launcher:
    """Does not start anything."""

    capabilities = LauncherCapabilities()

    def __init__(self, config):
        self.lie = config.lie

    def check(self, launch):
        """All is well."""

    def script(self, launch, tasks):
        return ""

    def start(self, launch, tasks, environment):
        maybe(self.lie)

    def states(self, jobs):
        return {}

    def gpus_in_use(self):
        return 0
