# Three images from one file: `api` (HTTP, no torch), `worker` (analyses), `redis` (keeps jobs and messages).
# requirements.lock is the constraint: it fixes the version of every package and uv checks every hash in it, while
# pyproject.toml says which of them an image needs.
# The stages stand in this order because Docker's older builder runs all stages before the wanted one.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/opt/emoclip/bin:/opt/venv/bin:$PATH PYTHONPATH=/opt/emoclip
# one user for all three, so that they can share the volumes; its directories exist here because a new volume takes
# owner and mode from the image
RUN groupadd --gid 10001 emoclip \
    && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin emoclip \
    && install -d -o emoclip -g emoclip -m 0750 /var/lib/emoclip/media /var/lib/emoclip/redis /run/emoclip \
        /run/emoclip-keys
WORKDIR /var/lib/emoclip

FROM base AS redis
RUN apt-get update -qq \
    && apt-get install -qq --yes --no-install-recommends redis-server >/dev/null \
    && rm -rf /var/lib/apt/lists/*
USER emoclip
# The password is made at the first start and stands in one file, which only this user can read and which the other
# services mount; so it is in no image, environment, command line or repository.
ENTRYPOINT ["sh", "-euc", "umask 077; file=/run/emoclip/redis_password; \
    [ -s $file ] || python -c 'import secrets; print(secrets.token_urlsafe(32))' > $file; \
    printf '%s\\n' 'protected-mode yes' 'dir /var/lib/emoclip/redis' 'save \"\"' 'appendonly yes' \
        'maxmemory-policy noeviction' 'slowlog-log-slower-than -1' \"requirepass $(cat $file)\" > /tmp/redis.conf; \
    exec redis-server /tmp/redis.conf \"$@\"", "redis"]
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["sh", "-euc", \
    "REDISCLI_AUTH=$(cat /run/emoclip/redis_password) redis-cli ping | grep -q PONG"]

FROM ${PYTHON_IMAGE} AS builder
RUN python -m pip install --no-cache-dir --disable-pip-version-check --quiet uv==0.13.9 \
    && uv venv --quiet --python "$(command -v python)" /opt/venv
WORKDIR /src
COPY pyproject.toml requirements.lock ./
ENV VIRTUAL_ENV=/opt/venv UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy

FROM builder AS api-packages
RUN uv pip install --quiet -r pyproject.toml --constraints requirements.lock

# the project itself goes into a layer of its own: a change of the code moves kilobytes, not the libraries
FROM builder AS api-project
COPY README.md LICENSE ./
COPY app app
COPY worker worker
# the labels are all that the API needs of the model; the weights stay out
COPY model/__init__.py model/labels.py model/
RUN uv pip install --quiet --no-deps --target /opt/emoclip --build-constraints requirements.lock .

FROM base AS api
COPY --from=api-packages /opt/venv /opt/venv
COPY --from=api-project /opt/emoclip /opt/emoclip
USER emoclip
EXPOSE 8000
ENTRYPOINT ["emoclip"]
CMD ["api", "--host", "0.0.0.0"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]

FROM builder AS worker-packages
# triton (0.9 GB) is torch's compiler for torch.compile, which nothing here calls; the CUDA libraries must stay, torch
# does not even import without them
RUN echo triton > excluded.txt \
    && uv pip install --quiet -r pyproject.toml --extra worker --constraints requirements.lock --excludes excluded.txt

FROM builder AS worker-project
COPY README.md LICENSE ./
COPY app app
COPY worker worker
COPY model model
RUN uv pip install --quiet --no-deps --target /opt/emoclip --build-constraints requirements.lock .

FROM base AS worker
COPY --from=worker-packages /opt/venv /opt/venv
COPY --from=worker-project /opt/emoclip /opt/emoclip
USER emoclip
ENTRYPOINT ["emoclip"]
CMD ["worker"]
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s --retries=4 CMD ["emoclip", "worker", "--check"]
