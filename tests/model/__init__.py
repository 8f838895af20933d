"""A second model of a platform, written without the simulator and without knowledge of how records are found."""
