# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What stands beside an image, read as others read it. `load helpers`, `load attested`.
#
#   raw_at REFERENCE          a manifest, byte for byte
#   blob_at REPOSITORY DIGEST a blob
#   attestations REFERENCE    of an index, the manifests of the attestations of its images, one a line

raw_at()
{
    skopeo inspect --tls-verify=false --raw "docker://$1"
}

blob_at()
{
    curl -sSf "http://${1%%/*}/v2/${1#*/}/blobs/$2"
}

attestations()
{
    local digest
    raw_at "$1" | jq -r '.manifests[] | select(.annotations["vnd.docker.reference.type"] == "attestation-manifest").digest' |
        while read -r digest; do raw_at "${1%:*}@$digest" | jq -c .; done
}
