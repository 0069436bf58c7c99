# syntax=docker/dockerfile:1
ARG NODE_VERSION=22
ARG PYTHON_VERSION=3.13

# The pages that browsers see: GraphiQL and store insight
FROM node:${NODE_VERSION}-slim AS graphiql
ENV npm_config_cache=/cache/npm
WORKDIR /graphiql
COPY app/api/graphiql/package.json app/api/graphiql/package-lock.json app/api/graphiql/.npmrc ./
RUN --mount=type=cache,target=/cache/npm npm ci
COPY app/api/graphiql/ ./
RUN npm run build

# The gateway, in a virtual environment that moves to the last stage as it is
FROM python:${PYTHON_VERSION}-slim AS builder
ENV PIP_CACHE_DIR=/cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/neurotracker
ENV PATH=/opt/neurotracker/bin:$PATH
WORKDIR /build
COPY .ci/requirements.lock ./
# The cache is a mount, so none of it stays in the image.
# hadolint ignore=DL3042
RUN --mount=type=cache,target=/cache/pip pip install --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md ./
COPY app/ app/
COPY --from=graphiql /graphiql/dist/ app/api/graphiql/dist/
RUN pip install --no-deps --no-build-isolation --no-cache-dir .

FROM python:${PYTHON_VERSION}-slim AS gateway
RUN groupadd --system --gid 10001 neurotracker \
    && useradd --system --uid 10001 --gid neurotracker --home-dir /data --no-create-home --shell /usr/sbin/nologin neurotracker \
    && install --directory --owner=neurotracker --group=neurotracker --mode=0700 /data
COPY --from=builder /opt/neurotracker /opt/neurotracker
WORKDIR /opt/neurotracker
COPY migrations/ migrations/
ENV PATH=/opt/neurotracker/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ENVIRONMENT=production \
    HOST=0.0.0.0 \
    PORT=8000 \
    DATA_DIR=/data
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/readyz', timeout=4)"]
ENTRYPOINT ["neurotracker"]
CMD ["serve"]
