# The image of job-exporter: `docker build -t job-exporter .`
#
# The tag below moves with Python's and Debian's fixes. To build the same bytes for ever, pin its digest:
# `docker buildx imagetools inspect python:3.13-slim-trixie` prints it; then build with
# `--build-arg BASE=python:3.13-slim-trixie@sha256:<digest>`. Two builds on the same base have files of the same
# bytes and times. For the same digest, the builder must set the times of the layers too: with Docker
# `--output type=image,rewrite-timestamp=true`, with Podman `--timestamp`.
ARG BASE=python:3.13-slim-trixie
# The time of every file; any fixed one does.
ARG SOURCE_DATE_EPOCH=1735689600

FROM ${BASE} AS dependencies
ARG SOURCE_DATE_EPOCH
# The seed of hashes is fixed too: compiled files would differ by it.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONHASHSEED=0
WORKDIR /build

# Every file must match the lock's hash. No pip in the environment that is handed on.
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/job-exporter \
    && pip --python /opt/job-exporter/bin/python install --no-compile --require-hashes --only-binary :all: -r requirements.lock

# What nobody needs at run time: tests, headers and sources of compiled modules, scripts of dependencies.
# The compiled files name no time of their source (unchecked-hash), so they are the same in each build.
WORKDIR /opt/job-exporter
RUN rm -r include \
    && find bin ! -type d ! -name 'python*' -delete \
    && find lib -type d -name tests -prune -exec rm -r {} + \
    && find lib -type f -regex '.*\.\(c\|cpp\|h\|hpp\|pxd\|pyi\|pyx\)' -delete \
    && python -m compileall -q --invalidation-mode unchecked-hash lib \
    && find . -exec touch --no-dereference --date "@${SOURCE_DATE_EPOCH}" {} +


FROM dependencies AS package
ARG SOURCE_DATE_EPOCH
WORKDIR /build
COPY requirements-build.lock ./
RUN pip install --require-hashes --only-binary :all: -r requirements-build.lock

COPY LICENSE README.md pyproject.toml ./
COPY deploy/prometheus ./deploy/prometheus
COPY deploy/systemd ./deploy/systemd
COPY docs/alerts.md ./docs/
COPY grafana/dashboards ./grafana/dashboards
COPY grafana/provisioning ./grafana/provisioning
COPY exporter ./exporter
# Installed below /package, so that it becomes a layer of its own: a change of the source ships nothing else.
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && pip --python /opt/job-exporter/bin/python install --no-compile --no-deps --no-warn-script-location --root /package dist/*.whl \
    && python -m compileall -q --invalidation-mode unchecked-hash -s /package -p / /package \
    && find /package -exec touch --no-dereference --date "@${SOURCE_DATE_EPOCH}" {} +


FROM ${BASE}
ENV PATH=/opt/job-exporter/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# A number, so that Kubernetes can prove runAsNonRoot; 65532 is what distroless images call nonroot.
RUN install --directory --owner 65532 --group 65532 --mode 0700 /var/lib/job-exporter

COPY --from=dependencies /opt/job-exporter /opt/job-exporter
COPY --from=package /package/opt/job-exporter /opt/job-exporter
USER 65532:65532

# The only place that is written. The default of state.url is a file in the working directory: as the
# working directory it holds the ledger at sqlite:////var/lib/job-exporter/job-exporter.db, while a
# state.url in a mounted --config file still wins, which it could not against a variable set here.
VOLUME /var/lib/job-exporter
WORKDIR /var/lib/job-exporter

EXPOSE 16868
STOPSIGNAL SIGTERM

# Asks at the address of the settings, with TLS if they say so. Flags after `run` are not seen by it: give the
# address by variable or by the file that JOB_EXPORTER_CONFIG names. Orchestrators bring their own probes.
HEALTHCHECK --interval=1m --timeout=10s --start-period=30s --retries=3 \
    CMD ["job-exporter", "healthcheck"]

ENTRYPOINT ["job-exporter"]
CMD ["run"]

# Last, because they differ in each build.
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="job-exporter" \
      org.opencontainers.image.description="Prometheus exporter for a job-execution platform: every finished record counted exactly once" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="python:3.13-slim-trixie" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
