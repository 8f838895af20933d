"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# Nothing here is about time, and the machine may be busy.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
