# SPDX-License-Identifier: Apache-2.0
"""Certificates, made by openssl: a CA, what it signed, and what it did not."""
import os
import subprocess

NAMES = "IP:127.0.0.1,DNS:localhost,DNS:*.fault.test"
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def authority(directory, name):
    openssl("req", "-x509", *CURVE, "-days", "30", "-keyout", f"{directory}/{name}.key", "-out", f"{directory}/{name}.crt",
            "-subj", f"/CN=cbpush {name}", "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign")


def signed(directory, name, by, names, *dates):
    path = f"{directory}/{name}"
    openssl("req", *CURVE, "-keyout", f"{path}.key", "-out", f"{path}.csr", "-subj", f"/CN={name}")
    with open(f"{path}.ext", "w", encoding="ascii") as file:
        file.write(f"subjectAltName={names}\n")
    openssl("x509", "-req", "-in", f"{path}.csr", "-CA", f"{directory}/{by}.crt", "-CAkey", f"{directory}/{by}.key",
            "-set_serial", str(int.from_bytes(os.urandom(8), "big") >> 1), "-extfile", f"{path}.ext", "-out", f"{path}.crt",
            *(dates or ("-days", "30")))


def make(directory):
    """good, expired, wronghost, unknownca, client: NAME.crt and NAME.key; ca.crt signs what is to be trusted."""
    os.makedirs(directory)
    authority(directory, "ca")
    authority(directory, "stranger")
    signed(directory, "good", "ca", NAMES)
    signed(directory, "expired", "ca", NAMES, "-days", "-1")
    signed(directory, "wronghost", "ca", "DNS:elsewhere.example")
    signed(directory, "unknownca", "stranger", NAMES)
    signed(directory, "client", "ca", "DNS:client")
    os.makedirs(f"{directory}/certs.d")
    for source, name in (("ca.crt", "ca.crt"), ("client.crt", "client.cert"), ("client.key", "client.key")):
        os.link(f"{directory}/{source}", f"{directory}/certs.d/{name}")
