"""A second model of a platform, independent of the simulator, and random histories of it."""
