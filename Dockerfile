# syntax=docker/dockerfile:1
# The same binary serves, runs the demo, and is the bootstrap of the Lambda
# functions: docker build --build-arg TAGS=lambda.norpc,lambda leaves out what they
# don't need. lambda.norpc leaves out what nobody needs: the calls of Lambda's retired
# Go runtime, for which the linker keeps every method that there is, and the binary is
# more than twice as large.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH TAGS=lambda.norpc
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -tags "$TAGS" -ldflags="-s -w" -o /out/secbot . \
 && mkdir -p /out/data

# Nothing but certificates and time zones: no shell, no package manager.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/secbot /usr/local/bin/secbot
COPY --from=build --chown=nonroot:nonroot /out/data /data
USER nonroot
# The root may be read-only: only /data is written to, and only by bolt.
WORKDIR /data
VOLUME /data
ENV SECBOT_ADDR=0.0.0.0:8080 SECBOT_STORE=bolt:///data/secbot.db
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s CMD ["/usr/local/bin/secbot", "health"]
ENTRYPOINT ["/usr/local/bin/secbot"]
CMD ["serve"]
