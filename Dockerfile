# One image for every role. Targets, in the order they are written (the classic builder runs all of them up to its
# target, so the ones that need nothing from the network come first):
#
#   prebuilt         dist/understudy alone
#   prebuilt-debian  dist/understudy on BASE as it is: no package is fetched, so BASE brings python3 if jobs want it
#   build            compiles the program
#   release          the compiled program alone: 0 other files, built-in classes and no shell
#   release-debian   the compiled program on BASE with python3: what docker-compose.yml takes by default
ARG BUILDER=rust:1-slim-bookworm
ARG BASE=debian:bookworm-slim

FROM scratch AS prebuilt
COPY --chown=65532:65532 docker/data/ /var/lib/
COPY dist/understudy /usr/local/bin/understudy
ENV PATH=/usr/local/bin:/usr/bin:/bin
USER 65532:65532
VOLUME /var/lib/understudy
ENTRYPOINT ["/usr/local/bin/understudy"]
CMD ["--help"]

FROM ${BASE} AS prebuilt-debian
COPY --chown=65532:65532 docker/data/ /var/lib/
COPY dist/understudy /usr/local/bin/understudy
USER 65532:65532
VOLUME /var/lib/understudy
ENTRYPOINT ["/usr/local/bin/understudy"]
CMD ["--help"]

FROM ${BUILDER} AS build
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends gcc g++ make \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# The explicit target keeps the flag away from build scripts and macros, which cannot be static.
RUN target="$(uname -m)-unknown-linux-gnu" \
 && RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target "$target" -p understudy \
 && install -D -m 755 "target/$target/release/understudy" /out/understudy \
 && rm -rf target

FROM scratch AS release
COPY --chown=65532:65532 docker/data/ /var/lib/
COPY --from=build /out/understudy /usr/local/bin/understudy
ENV PATH=/usr/local/bin:/usr/bin:/bin
USER 65532:65532
VOLUME /var/lib/understudy
ENTRYPOINT ["/usr/local/bin/understudy"]
CMD ["--help"]

FROM ${BASE} AS release-debian
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/*
COPY --chown=65532:65532 docker/data/ /var/lib/
COPY --from=build /out/understudy /usr/local/bin/understudy
USER 65532:65532
VOLUME /var/lib/understudy
ENTRYPOINT ["/usr/local/bin/understudy"]
CMD ["--help"]
