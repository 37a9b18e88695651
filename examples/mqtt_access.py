"""How both ends of the MQTT line get into a broker that does not let everybody in: who they are, and over TLS.

Whoever may publish to a broker may forge a decision: `mosquitto.acl` gives each robot its own topics.
"""

from __future__ import annotations

import argparse
import os
import sys

import paho.mqtt.client as mqtt

PASSWORD = "EVENVOICE_MQTT_PASSWORD"


def add_broker(parser: argparse.ArgumentParser) -> None:
    """Options that say which broker, and how to get in; the password is in the environment, where no `ps` shows it."""
    parser.add_argument("--host", default="127.0.0.1", help="the broker's")
    parser.add_argument("--port", type=int, help="1883, over TLS 8883")
    parser.add_argument("--user", help=f"who this is to the broker; the password is in {PASSWORD}")
    parser.add_argument("--tls", action="store_true", help="speak TLS, and check the broker's certificate")
    parser.add_argument("--ca-file", help="who signed it, a PEM file; else whom this machine trusts")


def connect(client: mqtt.Client, chosen: argparse.Namespace) -> None:
    """Connect as the options say. What was spoken while nobody listened is not asked for: it is too old.

    Raises:
        OSError: there is no broker, or its certificate is none that is trusted.
    """
    is_tls, password = chosen.tls or chosen.ca_file is not None, os.environ.get(PASSWORD)
    if chosen.user is not None:
        client.username_pw_set(chosen.user, password)
    if password is not None and (chosen.user is None or not is_tls):
        wrong = "is not sent without --user" if chosen.user is None else "goes over the network as it is without --tls"
        print(f"{PASSWORD} {wrong}", file=sys.stderr, flush=True)
    if is_tls:
        client.tls_set(chosen.ca_file)
    client.connect(chosen.host, chosen.port or (8883 if is_tls else 1883), clean_start=True)
