"""Pictures of the dashboards, drawn with Grafana's own front-end libraries: `make look`."""
