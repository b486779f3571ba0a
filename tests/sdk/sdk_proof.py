"""Calls every action of the simulator with the official SDKs and compares the responses with the simulator's truth.

Usage: sdk_proof.py URL_NUMBERS URL_STRINGS URL_TEMPORARY_KEY
The first simulator returns numbers in GetTopicStatus, the second strings, as in the reference, and the third accepts
only a temporary key with a token.
The two SDKs are alibabacloud-alikafka20190916 (ACS3, its own models) and aliyun-python-sdk-core (v1, raw JSON).
"""

import json
import sys
import traceback
import urllib.parse
import urllib.request
from functools import partial

from alibabacloud_alikafka20190916 import models
from alibabacloud_alikafka20190916.client import Client
from alibabacloud_tea_openapi.utils_models import Config
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.auth.credentials import StsTokenCredential
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest

KEY, SECRET, TOKEN = "LTAI5tSimulatorTestKey", "simulator-test-secret", "CAIS+/=abc~*%"
SPECIAL_NAMES = {"a b*c~d/e+f=g&h%i", 'say "hi"', "订单 事件", "back\\slash\\n", "line\nbreak\ttab"}


def get(url, path):
    with urllib.request.urlopen(f"{url}/_sim/{path}") as response:
        return json.load(response)


class Acs3:
    """The current SDK. It parses into models; `to_map` returns their wire names."""

    name = "acs3"

    def __init__(self, url, secret=SECRET, token=None):
        host = urllib.parse.urlsplit(url).netloc
        config = Config(
            access_key_id=KEY, access_key_secret=secret, security_token=token, endpoint=host, protocol="HTTP"
        )
        self.client = Client(config)

    def call(self, action, **params):
        snake = "".join("_" + c.lower() if c.isupper() else c for c in action).lstrip("_")
        request = getattr(models, action + "Request")().from_map(params)
        response = getattr(self.client, snake)(request)
        assert response.status_code == 200, response.status_code
        assert type(response.body).__name__ == action + "ResponseBody", type(response.body)
        return response.body.to_map()


class V1:
    """The older core SDK: HMAC-SHA1, parameters in the query (GET) or in query and form body (POST)."""

    def __init__(self, url, method, secret=SECRET, token=None):
        self.name = f"v1 {method}"
        self.host = urllib.parse.urlsplit(url).netloc
        self.method = method
        key = {"ak": KEY, "secret": secret} if token is None else {"credential": StsTokenCredential(KEY, secret, token)}
        self.client = AcsClient(region_id="cn-hangzhou", **key)

    def call(self, action, **params):
        request = CommonRequest()
        request.set_accept_format("json")
        request.set_domain(self.host)
        request.set_protocol_type("http")
        request.set_method(self.method)
        request.set_version("2019-09-16")
        request.set_action_name(action)
        for name, value in flat(params):
            if self.method == "POST":
                request.add_body_params(name, value)
            else:
                request.add_query_param(name, value)
        return json.loads(self.client.do_action_with_exception(request))


def flat(params):
    for name, value in params.items():
        if not isinstance(value, list):
            yield name, str(value).lower() if isinstance(value, bool) else value
            continue
        for n, item in enumerate(value, 1):
            if isinstance(item, dict):
                yield from ((f"{name}.{n}.{key}", text) for key, text in item.items())
            else:
                yield f"{name}.{n}", item


def same(got, want, where):
    assert type(got) is type(want) and got == want, f"{where}: the SDK has {got!r}, the truth is {want!r}"


def in_service(truth):
    for region, r in truth["regions"].items():
        for instance_id, instance in r["instances"].items():
            if instance["in_service"]:
                yield region, instance_id, instance


def all_instance_ids(sdk, truth):
    body = sdk.call("GetAllInstanceIdList", RegionId="cn-hangzhou")
    same(body["InstanceIds"], {r: sorted(v["instances"]) for r, v in truth["regions"].items()}, "InstanceIds")
    same((body["Code"], body["Success"]), (200, True), "envelope")


def instance_list(sdk, truth):
    for region, r in truth["regions"].items():
        rows = sdk.call("GetInstanceList", RegionId=region)["InstanceList"]["InstanceVO"]
        same([row["InstanceId"] for row in rows], sorted(r["instances"]), region)
        for row in rows:
            want = r["instances"][row["InstanceId"]]
            for field, name in [
                ("Name", "name"),
                ("ServiceStatus", "service_status"),
                ("ViewInstanceStatusCode", "view_status"),
                ("CreateTime", "created_ms"),
                ("ExpiredTime", "expires_ms"),
                ("UsedPartitionCount", "partitions"),
            ]:
                same(row.get(field), want[name], f"{row['InstanceId']} {field}")
            same([[t["Key"], t["Value"]] for t in row["Tags"]["TagVO"]], want["tags"], "Tags")
            same(row["UsedTopicCount"], len(want["topics"]), "UsedTopicCount")
        some = rows[0]["InstanceId"]
        found = sdk.call("GetInstanceList", RegionId=region, InstanceId=[some])
        same([row["InstanceId"] for row in found["InstanceList"]["InstanceVO"]], [some], "by id")
        tag = {"Key": rows[0]["Tags"]["TagVO"][1]["Key"], "Value": "生产 环境"}
        found = sdk.call("GetInstanceList", RegionId=region, Tag=[tag])
        same(len(found["InstanceList"]["InstanceVO"]), len(rows), "by a tag in Chinese")


def topic_list(sdk, truth):
    seen = set()
    for region, instance_id, instance in in_service(truth):
        names, number = [], 1
        while True:
            body = sdk.call("GetTopicList", RegionId=region, InstanceId=instance_id, CurrentPage=str(number), PageSize="10")
            same((body["Total"], body["CurrentPage"], body["PageSize"]), (len(instance["topics"]), number, 10), "list page")
            for row in body["TopicList"]["TopicVO"]:
                want = instance["topics"][row["Topic"]]
                same(row["PartitionNum"], len(want["partitions"]), row["Topic"])
                same((row["LocalTopic"], row["CompactTopic"]), (want["local"], want["compact"]), row["Topic"])
                names.append(row["Topic"])
            if len(names) >= body["Total"]:
                break
            number += 1
        same(sorted(names), sorted(instance["topics"]), instance_id)
        default = sdk.call("GetTopicList", RegionId=region, InstanceId=instance_id)
        same((len(default["TopicList"]["TopicVO"]), default["PageSize"]), (10, 10), "default page size")
        seen.update(names)
    assert SPECIAL_NAMES <= seen, SPECIAL_NAMES - seen


def topic_status(sdk, truth, text=False):
    """With `text`, every number and bool is a string with the same digits."""
    form = str if text else (lambda v: v)
    for region, instance_id, instance in in_service(truth):
        for topic, want in instance["topics"].items():
            body = sdk.call("GetTopicStatus", RegionId=region, InstanceId=instance_id, Topic=topic)
            status = body["TopicStatus"]
            same(status["TotalCount"], form(want["messages"]), topic)
            rows = status["OffsetTable"]["OffsetTable"]
            same([row["Topic"] for row in rows], [topic] * len(want["partitions"]), topic)
            got = [(r["Partition"], r["MinOffset"], r["MaxOffset"], r["LastUpdateTimestamp"]) for r in rows]
            same(
                got,
                [tuple(map(form, (p["partition"], p["start"], p["end"], p["last_write_ms"] or 0))) for p in want["partitions"]],
                topic,
            )
            assert any(p["end"] > 2**53 for p in want["partitions"])


def consumer_list(sdk, truth):
    seen = set()
    for region, instance_id, instance in in_service(truth):
        body = sdk.call("GetConsumerList", RegionId=region, InstanceId=instance_id)
        names = [row["ConsumerId"] for row in body["ConsumerList"]["ConsumerVO"]]
        same(sorted(names), sorted(instance["groups"]), instance_id)
        body = sdk.call("GetConsumerList", RegionId=region, InstanceId=instance_id, CurrentPage=2, PageSize=15)
        same((body["Total"], len(body["ConsumerList"]["ConsumerVO"])), (len(names), len(names) - 15), "page 2")
        seen.update(names)
    assert SPECIAL_NAMES <= seen, SPECIAL_NAMES - seen


def consumer_progress(sdk, truth):
    times = 0
    for region, instance_id, instance in in_service(truth):
        for group, want in instance["groups"].items():
            params = dict(RegionId=region, InstanceId=instance_id, ConsumerId=group)
            body = sdk.call("GetConsumerProgress", **params)["ConsumerProgress"]
            same((body["TotalDiff"], body["state"]), (want["lag"], want["state"]), group)
            topics = {t["Topic"]: t for t in body["TopicList"]["TopicList"]}
            same(sorted(topics), sorted(want["topics"]), group)
            for topic, wanted in want["topics"].items():
                same(topics[topic]["TotalDiff"], wanted["lag"], topic)
                got = [
                    (r["Partition"], r["BrokerOffset"], r["ConsumerOffset"], r["Accumulate"], r["LastTimestamp"])
                    for r in topics[topic]["OffsetList"]["OffsetList"]
                ]
                same(got, [partition(p, wanted["times_hidden"]) for p in wanted["partitions"] if p["listed"]], topic)
                times += sum(row[4] > 0 for row in got)
            hidden = sdk.call("GetConsumerProgress", HideLastTimestamp=True, **params)["ConsumerProgress"]
            same(hidden["LastTimestamp"], -1, "HideLastTimestamp")
    assert times > 0


def partition(p, times_hidden):
    committed = -1 if p["committed"] is None else p["committed"]
    time = -1 if times_hidden or p["last_consumed_ms"] is None else p["last_consumed_ms"]
    return p["partition"], p["end"], committed, p["lag"] or 0, time


def rejected(make, code):
    def check(_sdk, _truth):
        try:
            make().call("GetInstanceList", RegionId="cn-hangzhou")
        except ServerException as error:
            same(error.get_error_code(), code, "the older SDK's error")
        except Exception as error:  # The class of the newer SDK's error depends on its version.
            same(getattr(error, "code", repr(error)), code, "the newer SDK's error")
        else:
            raise AssertionError("the call was accepted")

    return check


def main(numbers, strings, temporary):
    truths = {url: get(url, "truth") for url in (numbers, strings, temporary)}
    lists = [all_instance_ids, instance_list, topic_list, consumer_list, consumer_progress, topic_status]
    proofs = []
    for make in (Acs3, partial(V1, method="GET"), partial(V1, method="POST")):
        sdk = make(numbers)

        def add(name, check, sdk, url):
            proofs.append((sdk.name, name, check, sdk, url))

        for check in lists:
            add(check.__name__, check, sdk, numbers)
        add("topic_status in strings", partial(topic_status, text=True), make(strings), strings)
        add("a temporary key with its token", all_instance_ids, make(temporary, token=TOKEN), temporary)
        check = rejected(partial(make, temporary, token="other"), "InvalidSecurityToken.Malformed")
        add("a wrong token is rejected", check, sdk, temporary)
        check = rejected(partial(make, numbers, secret="wrong-secret"), "SignatureDoesNotMatch")
        add("a wrong secret is rejected", check, sdk, numbers)
    failed = 0
    for sdk_name, name, check, sdk, url in proofs:
        try:
            check(sdk, truths[url])
            print(f"ok      {sdk_name}: {name}")
        except Exception:
            failed += 1
            print(f"FAILED  {sdk_name}: {name}")
            traceback.print_exc()
    for url in truths:
        same(get(url, "truth"), truths[url], "the world did not change")
    print(f"{len(proofs) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
