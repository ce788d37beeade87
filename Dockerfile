# Two stages: the first makes a wheel and installs it into a virtual environment, the second holds nothing else.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY titanic_batch ./titanic_batch
RUN python -m venv /opt/titanic && /opt/titanic/bin/pip install --no-cache-dir . \
    && /opt/titanic/bin/titanic fit -o /opt/titanic/model.skops

FROM python:3.11-slim
COPY --from=build /opt/titanic /opt/titanic
ENV PATH=/opt/titanic/bin:$PATH \
    TITANIC_HOST=0.0.0.0 \
    TITANIC_MODEL=/opt/titanic/model.skops
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["titanic"]
CMD ["serve"]
