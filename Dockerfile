# The server in a small image: built with Go and a C++ runtime, run as nobody, data in the volume /data.
FROM golang:1.26-bookworm AS build
LABEL raftmetrics.stage=build
WORKDIR /src
COPY . .
# What only this stage needs goes in the step that made it, or the layer would keep it.
RUN go build -trimpath -ldflags '-s -w' -o /raftmetrics . && go clean -cache -modcache

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin raftmetrics \
 && mkdir --mode 0700 /data && chown raftmetrics:raftmetrics /data
COPY --from=build /raftmetrics /usr/local/bin/raftmetrics
USER raftmetrics
ENV DATA_DIR=/data
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 CMD ["raftmetrics", "health"]
ENTRYPOINT ["raftmetrics"]
