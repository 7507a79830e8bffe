# syntax=docker/dockerfile:1
# An oddtide worker (and its command line) in a small image that runs as nobody in particular.

FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/oddtide
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# The libraries first: they change less often than the code, so this layer is rebuilt less often.
COPY pyproject.toml README.md LICENSE ./
RUN mkdir oddtide && touch oddtide/__init__.py \
 && /opt/oddtide/bin/pip install '.[postgres]' \
 && /opt/oddtide/bin/pip uninstall --yes oddtide && rm -r oddtide
COPY oddtide oddtide
RUN /opt/oddtide/bin/pip install --no-deps . && /opt/oddtide/bin/oddtide --version

FROM python:3.12-slim
RUN groupadd --gid 10001 oddtide \
 && useradd --uid 10001 --gid oddtide --no-create-home --home-dir /var/lib/oddtide oddtide \
 && install --directory --owner=oddtide --group=oddtide /var/lib/oddtide /var/cache/oddtide
COPY --from=build /opt/oddtide /opt/oddtide
ENV PATH=/opt/oddtide/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/var/cache/oddtide/numba \
    ODDTIDE_DATA_FOLDER=/var/lib/oddtide \
    ODDTIDE_WORKER__METRICS_HOST=0.0.0.0
USER 10001:10001
WORKDIR /var/lib/oddtide
VOLUME /var/lib/oddtide
EXPOSE 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["oddtide"]
CMD ["worker"]
