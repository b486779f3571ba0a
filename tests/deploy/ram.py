"""Checks the RAM policies: least privilege, and narrow trust policies."""

import json
import re

import yaml

from common import EXPORTER, ROOT, check, must, none_of, run

HERE = ROOT / "deploy/ram"


def statement(name):
    document = json.loads((HERE / name).read_text())
    must(document["Version"] == "1" and len(document["Statement"]) == 1, f"{name}: not one statement of version 1")
    only = document["Statement"][0]
    must(only["Effect"] == "Allow", f"{name}: {only['Effect']}")
    return only


@check("the RAM policy allows exactly the permissions of the exporter's actions")
def policy():
    own = statement("policy.json")
    source = (ROOT / "src/api/action.rs").read_text()
    needed = set(re.findall(r'"(alikafka:\w+)"', source))
    names = set(re.findall(r'=> "(Get\w+)"', source))
    must(len(names) >= 6 and needed, "src/api/action.rs has changed; adapt this check")
    must(set(own["Action"]) == needed, f"policy {sorted(own['Action'])}, program {sorted(needed)}")
    must(len(own["Action"]) == len(needed), "a duplicate action")
    must(all(re.fullmatch(r"alikafka:List\w+", action) for action in own["Action"]), "an action other than a list action")
    must(own["Resource"] == "acs:alikafka:*:*:*", own["Resource"])
    shown = (ROOT / "README.md").read_text()
    found = set(re.findall(r'"(alikafka:\w+)"', shown))
    must(not found or found == needed, f"README.md shows {sorted(found)}")
    return ", ".join(sorted(needed))


@check("each trust policy names one kind of principal, and RRSA one service account")
def trust():
    policies = {name: statement(name) for name in ("trust-ecs.json", "trust-ack-rrsa.json", "trust-account.json")}
    problems = [name for name, own in policies.items() if own["Action"] != "sts:AssumeRole" or "*" in json.dumps(own)]
    kinds = {name: list(own["Principal"]) for name, own in policies.items()}
    must(kinds == {"trust-ecs.json": ["Service"], "trust-ack-rrsa.json": ["Federated"], "trust-account.json": ["RAM"]},
         f"{kinds}")
    conditions = policies["trust-ack-rrsa.json"]["Condition"]["StringEquals"]
    must(set(conditions) == {"oidc:aud", "oidc:iss", "oidc:sub"}, "RRSA without all three conditions")
    must(conditions["oidc:aud"] == ["sts.aliyuncs.com"], "the audience of the token")
    must("sts:ExternalId" in policies["trust-account.json"]["Condition"]["StringEquals"], "no external id")
    must(statement("assume-role-policy.json")["Action"] == "sts:AssumeRole", "assume-role-policy.json")
    none_of(problems)


@check("the RAM README lists every policy and marks every command, and its configuration is valid")
def readme():
    text = (HERE / "README.md").read_text()
    none_of(path.name for path in HERE.glob("*.json") if f"({path.name})" not in text)
    blocks = re.findall(r"^( *)```sh cloud\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    must(blocks, "no commands")
    none_of(block for _, block in blocks if "# needs a cloud account" not in block)
    config = re.search(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
    config = config.replace("OTHER_ACCOUNT_ID", "1234567890123456")
    yaml.safe_load(config)
    return run(EXPORTER, "check-config", "--config.file=/dev/stdin", input=config, env={}).strip()
