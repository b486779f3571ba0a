"""RAM: the policy allows what the program can ask and nothing else, and a role can be taken by whom it is meant for."""

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


@check("the RAM policy allows the permissions of the program's actions, and no others")
def policy():
    own = statement("policy.json")
    source = (ROOT / "src/api/action.rs").read_text()
    needed = set(re.findall(r'"(alikafka:\w+)"', source))
    names = set(re.findall(r'=> "(Get\w+)"', source))
    must(len(names) >= 6 and needed, "src/api/action.rs is not as it was when this was written")
    must(set(own["Action"]) == needed, f"policy {sorted(own['Action'])}, program {sorted(needed)}")
    must(len(own["Action"]) == len(needed), "an action twice")
    must(all(re.fullmatch(r"alikafka:List\w+", action) for action in own["Action"]), "an action that is no list")
    must(own["Resource"] == "acs:alikafka:*:*:*", own["Resource"])
    shown = (ROOT / "README.md").read_text()
    found = set(re.findall(r'"(alikafka:\w+)"', shown))
    must(not found or found == needed, f"README.md shows {sorted(found)}")
    return ", ".join(sorted(needed))


@check("trust policies name one kind of taker each, and RRSA one service account")
def trust():
    takers = {name: statement(name) for name in ("trust-ecs.json", "trust-ack-rrsa.json", "trust-account.json")}
    problems = [name for name, own in takers.items() if own["Action"] != "sts:AssumeRole" or "*" in json.dumps(own)]
    kinds = {name: list(own["Principal"]) for name, own in takers.items()}
    must(kinds == {"trust-ecs.json": ["Service"], "trust-ack-rrsa.json": ["Federated"], "trust-account.json": ["RAM"]},
         f"{kinds}")
    conditions = takers["trust-ack-rrsa.json"]["Condition"]["StringEquals"]
    must(set(conditions) == {"oidc:aud", "oidc:iss", "oidc:sub"}, "RRSA without all three conditions")
    must(conditions["oidc:aud"] == ["sts.aliyuncs.com"], "the audience of the token")
    must("sts:ExternalId" in takers["trust-account.json"]["Condition"]["StringEquals"], "no external id")
    must(statement("assume-role-policy.json")["Action"] == "sts:AssumeRole", "assume-role-policy.json")
    none_of(problems)


@check("the page about RAM names every policy, marks every command, and its configuration is accepted")
def page():
    text = (HERE / "README.md").read_text()
    none_of(path.name for path in HERE.glob("*.json") if f"({path.name})" not in text)
    blocks = re.findall(r"^( *)```sh cloud\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    must(blocks, "no commands")
    none_of(block for _, block in blocks if "# needs a cloud account" not in block)
    config = re.search(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
    config = config.replace("OTHER_ACCOUNT_ID", "1234567890123456")
    yaml.safe_load(config)
    return run(EXPORTER, "check-config", "--config.file=/dev/stdin", input=config, env={}).strip()
