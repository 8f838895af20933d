# The image of job-exporter: `docker build -t job-exporter .`
#
# The tag below moves with Python's and Debian's fixes. To build the same bytes for ever, pin its digest:
# `docker buildx imagetools inspect python:3.13-slim-bookworm` prints it; then build with
# `--build-arg BASE=python:3.13-slim-bookworm@sha256:<digest>`.
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# Dependencies before the source, so that a change of the source reuses this layer.
# No pip in the environment that is handed on; every file must match the lock's hash.
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/job-exporter \
    && pip --python /opt/job-exporter/bin/python install --require-hashes --only-binary :all: -r requirements.lock

# The build backend is held to the versions and hashes of the other lock.
COPY requirements-dev.lock ./
RUN pip install --require-hashes --constraint requirements-dev.lock hatchling

COPY LICENSE README.md pyproject.toml ./
COPY deploy/prometheus ./deploy/prometheus
COPY deploy/systemd ./deploy/systemd
COPY deploy/runbook.md ./deploy/
COPY grafana/dashboards ./grafana/dashboards
COPY grafana/provisioning ./grafana/provisioning
COPY exporter ./exporter
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && pip --python /opt/job-exporter/bin/python install --no-deps dist/*.whl


FROM ${BASE}
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="job-exporter" \
      org.opencontainers.image.description="Prometheus exporter for a job-execution platform: every finished record counted exactly once" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="python:3.13-slim-bookworm" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

ENV PATH=/opt/job-exporter/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

COPY --from=build /opt/job-exporter /opt/job-exporter

# A number, so that Kubernetes can prove runAsNonRoot; 65532 is what distroless images call nonroot.
RUN install --directory --owner 65532 --group 65532 --mode 0700 /var/lib/job-exporter
USER 65532:65532

# The only place that is written. The default of state.url is a file in the working directory: as the
# working directory it holds the ledger at sqlite:////var/lib/job-exporter/job-exporter.db, while a
# state.url in a mounted --config file still wins, which it could not against a variable set here.
VOLUME /var/lib/job-exporter
WORKDIR /var/lib/job-exporter

EXPOSE 16868
STOPSIGNAL SIGTERM

# Without curl, and without a proxy from the environment, hence not urllib. The port is that of the variable
# if it is set; 401 (a web.config-file with users) is a living process too. With TLS, or with the port in
# a flag or a file, say your own check (--health-cmd). Orchestrators bring their own probes.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; address = os.environ.get('JOB_EXPORTER_WEB__LISTEN_ADDRESS', ':16868').rpartition(':')[2]; port = int(''.join(filter(str.isdigit, address))); connection = http.client.HTTPConnection('127.0.0.1', port, timeout=4); connection.request('GET', '/-/healthy'); sys.exit(connection.getresponse().status not in (200, 401))"]

ENTRYPOINT ["job-exporter"]
CMD ["run"]
