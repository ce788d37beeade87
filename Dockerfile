# titanic in a container: `docker build -t titanic .`. There are two stages. The first builds a wheel, installs it with
# the packages that requirements.lock pins, and fits a model. The second copies the results; we add no pip and no
# compiler to it, and it needs no shell. Python 3.11 is the oldest version that the package supports, and the one its
# tests run on.
FROM python:3.11-slim AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# Only what the lock files pin, by hash. The top of each file says how to renew it.
COPY requirements.lock build-requirements.lock ./
RUN python -m venv /opt/build && python -m venv --without-pip /opt/titanic \
    && /opt/build/bin/pip install --require-hashes -r build-requirements.lock \
    && /opt/build/bin/pip --python /opt/titanic/bin/python install --require-hashes --only-binary :all: -r requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY titanic_batch ./titanic_batch
RUN /opt/build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir dist . \
    && /opt/build/bin/pip --python /opt/titanic/bin/python install --no-deps --no-index dist/*.whl \
    && find /opt/titanic/lib -depth -type d \( -name tests -o -name __pycache__ \) -exec rm -r {} + \
    && cd /opt/titanic/lib/python3*/site-packages/pyarrow && rm -r include *_flight*

# The image's model, fitted from the packaged passengers. These commands also leave the bytecode of what they import:
# without it, a read-only container would compile everything at each start, which takes three seconds.
ENV PATH=/opt/titanic/bin:$PATH
RUN mkdir /models && titanic fit -o /models/model.skops \
    && titanic validate titanic_batch/passenger/train.csv \
    && titanic score titanic_batch/passenger/train.csv -o preds.parquet --model /models/model.skops \
    && titanic score --help > /dev/null \
    && python -c 'import pkgutil as p, titanic_batch as t; [__import__(m.name) for m in p.walk_packages(t.__path__, "titanic_batch.") if m.name != "titanic_batch.__main__"]'

FROM python:3.11-slim
# Add --label org.opencontainers.image.revision=$(git rev-parse HEAD) and .source=URL when you build for others.
LABEL org.opencontainers.image.title="titanic" \
      org.opencontainers.image.description="Predict who survived the Titanic: score files, check data, serve requests." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="docker.io/library/python:3.11-slim"
COPY --from=build /opt/titanic /opt/titanic
COPY --from=build /models /models
# TITANIC_MODEL always names a model, so there is no fallback. A file mounted over it, or a folder mounted over /models,
# replaces it; if the model is missing, the exit code is 78. The root may be read-only: only outputs are written.
ENV PATH=/opt/titanic/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    TITANIC_HOST=0.0.0.0 \
    TITANIC_MODEL=/models/model.skops
USER 10001:10001
EXPOSE 8080
# For `serve`; a batch run ends before the first check. It uses no shell and no curl, and bypasses any proxy.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8080, timeout=4); c.request('GET', '/ping'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["titanic"]
CMD ["serve"]
