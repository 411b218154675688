# Two stages: the first has pip and a compiler's worth of leftovers, the second only what runs.
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock .
RUN python -m venv /opt/stt && /opt/stt/bin/pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY models ./models
COPY samples ./samples
COPY stt_server ./stt_server
RUN /opt/stt/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim
RUN groupadd --gid 10001 stt \
 && useradd --uid 10001 --gid stt --no-create-home --home-dir /data --shell /usr/sbin/nologin stt \
 && install --directory --owner=stt --group=stt /models /data
COPY --from=build /opt/stt /opt/stt
ENV PATH=/opt/stt/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8000 \
    MODEL_PATH=/models/parakeet \
    DB_PATH=/data/transcriptions.db
# Everything written goes to the two volumes; the root can be read-only (with a tmpfs on /tmp).
VOLUME ["/models", "/data"]
WORKDIR /data
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/health/live', timeout=4)"]
ENTRYPOINT ["stt-server"]
CMD ["serve"]
