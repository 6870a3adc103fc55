# One image for every role: webserver, daemon, code location, workers. For a GPU host, build it on a CUDA image of Debian 12
# or of a distribution with Python 3.11 or 3.12:  docker build --build-arg BASE=<cuda image> .
ARG BASE=debian:12.12
FROM ${BASE}

# Ubuntu's Python pulls in packages that would ask for a time zone.
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        ca-certificates g++ git make pdsh python3 python3-dev python3-venv xz-utils \
    && rm -rf /var/lib/apt/lists/*

# Juman++ 2, for JGPT_SEGMENTER=jumanpp, from a release archive (which includes the model). Its tests are not built:
# they do not compile with a C library as new as Debian 12's.
ARG JUMANPP_URL=""
ARG JUMANPP_SHA256=""
RUN if [ -n "${JUMANPP_URL}" ]; then set -e; \
        apt-get update; \
        apt-get install --yes --no-install-recommends cmake; \
        mkdir --parents /tmp/jumanpp/build; \
        cd /tmp/jumanpp; \
        python3 -c "import sys, urllib.request; urllib.request.urlretrieve(sys.argv[1], 'jumanpp.tar.xz')" "${JUMANPP_URL}"; \
        echo "${JUMANPP_SHA256}  jumanpp.tar.xz" | sha256sum --check; \
        tar --extract --strip-components=1 --file jumanpp.tar.xz; \
        cd build; \
        cmake .. -DCMAKE_BUILD_TYPE=Release -DJPP_ENABLE_TESTS=OFF -DCMAKE_POLICY_VERSION_MINIMUM=3.5; \
        make --jobs "$(nproc)" install; \
        rm -r /tmp/jumanpp /var/lib/apt/lists/*; \
        jumanpp --version; \
    fi

# Ubuntu images since 23.04 already have a user with this id.
RUN if getent passwd 1000; then userdel "$(getent passwd 1000 | cut --delimiter=: --fields=1)"; fi \
    && useradd --create-home --uid 1000 jgpt \
    && mkdir --parents /data /opt/dagster /opt/jgpt-dagster \
    && chown jgpt /data /opt/dagster

WORKDIR /opt/jgpt-dagster

# Dependencies first: they change less often than the code, so their layer stays cached.
# Only files whose hashes are in requirements/ are installed.
COPY requirements requirements
# Additional arguments for pip, such as an index with builds of torch for CPUs, which are preferred if it has any.
ARG PIP_ARGS=""
RUN python3 -m venv /opt/venv \
    && pip="/opt/venv/bin/python -m pip install --no-cache-dir --require-hashes --no-deps ${PIP_ARGS}" \
    && ${pip} --requirement requirements/build.txt \
    && { ${pip} --requirement requirements/torch-cpu.txt || ${pip} --requirement requirements/torch.txt; } \
    && ${pip} --requirement requirements/runtime.txt

COPY pyproject.toml README.md LICENSE ./
COPY jgpt_dagster jgpt_dagster
COPY workspace.yaml ./
COPY deploy deploy
# Starts the guarded webserver, whatever starts `dagster-webserver`.
COPY deploy/bin /opt/jgpt/bin
# The instance of a deployment with workers, used with DAGSTER_HOME=/opt/dagster.
COPY deploy/dagster.yaml /opt/dagster/
# What the image holds is listed in /opt/sbom: Python distributions as CycloneDX, Debian packages as a table.
RUN /opt/venv/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/venv/bin/python -m pip check \
    && python3 -m venv /tmp/sbom \
    && /tmp/sbom/bin/python -m pip install --no-cache-dir --require-hashes --no-deps ${PIP_ARGS} \
        --requirement requirements/sbom.txt \
    && mkdir /opt/sbom \
    && /tmp/sbom/bin/cyclonedx-py environment --output-format JSON --output-file /opt/sbom/python.cdx.json /opt/venv \
    && dpkg-query --show --showformat='${Package}\t${Version}\t${Architecture}\t${source:Package}\n' \
        > /opt/sbom/debian.tsv \
    && rm -r /tmp/sbom

ENV PATH=/opt/jgpt/bin:/opt/venv/bin:$PATH \
    JGPT_DATA=/data \
    PYTHONUNBUFFERED=1

USER jgpt
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/server_info', timeout=5)"]

# Inside a container the port is reachable only through the ports that the host publishes.
CMD ["jgpt", "ui", "--host", "0.0.0.0"]
