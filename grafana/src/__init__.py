"""The dashboards as code: queries, panels, and one module a dashboard."""
