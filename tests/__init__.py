"""The tests of job-exporter; read beside the module that each is named for."""
