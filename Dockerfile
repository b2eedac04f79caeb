# The service as an image: locked wheels, a user of its own, data in /data.
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/chatsvc
ENV PATH=/opt/chatsvc/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# Dependencies first: they change less often than the source.
COPY requirements/run.txt requirements/build.txt requirements/
RUN pip install --require-hashes -r requirements/run.txt \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY chatsvc chatsvc
COPY demo_cli demo_cli
RUN /opt/build/bin/hatchling build -t wheel -d /tmp/wheel \
    && pip install --no-deps /tmp/wheel/*.whl \
    && python -m compileall -q /opt/chatsvc/lib

FROM python:3.13-slim
LABEL org.opencontainers.image.title="chatsvc" \
      org.opencontainers.image.description="A self-hosted chat backend for applications that already have users." \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin chatsvc \
    && install -d -o chatsvc -g chatsvc -m 0700 /data
COPY --from=build /opt/chatsvc /opt/chatsvc
ENV PATH=/opt/chatsvc/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8080 \
    STORE=mongodb \
    DATA_DIR=/data \
    LOG_FORMAT=json
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
# What is acknowledged and not yet stored lies here: keep this volume.
VOLUME /data
WORKDIR /data
EXPOSE 8080
# The service takes up to SHUTDOWN_SECONDS (20) to end well after SIGTERM.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["chatsvc", "healthcheck"]
ENTRYPOINT ["chatsvc"]
CMD ["serve"]
