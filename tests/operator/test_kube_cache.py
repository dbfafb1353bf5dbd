"""What the watches told, kept by cluster: laws over any order of events."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from kube_support import KNOWN, UID, at_rest, clusters, parsed, pod, pod_in_full

from peersdb_operator.kube import desired
from peersdb_operator.kube.cache import Cache, reduced
from peersdb_operator.kube.drift import FOREIGN_FIELDS
from peersdb_operator.kube.kinds import CONFIG_MAP, NODE, POD, controller_of
from peersdb_operator.kube.observed import Observed, observe
from peersdb_operator.names import INSTANCE_LABEL


def an_object(version, name="one", instance="demo", namespace="data", **data):
    metadata = {"namespace": namespace, "name": name, "resourceVersion": str(version)}
    what = {"apiVersion": "v1", "kind": "ConfigMap"}
    return {**what, "metadata": {**metadata, "labels": {INSTANCE_LABEL: instance}}, "data": data}


OBJECTS = st.builds(
    an_object,
    version=st.integers(1, 9),
    name=st.sampled_from(["one", "two"]),
    instance=st.sampled_from(["demo", "other"]),
    namespace=st.sampled_from(["data", "elsewhere"]),
    a=st.sampled_from("xy"),
)
EVENTS = st.lists(st.tuples(st.sampled_from(["put", "drop"]), OBJECTS), max_size=12)
KEYS = [(namespace, name) for namespace in ("data", "elsewhere") for name in ("demo", "other")]


def place(obj):
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def version(obj):
    return int(obj["metadata"]["resourceVersion"])


def key(obj):
    return obj["metadata"]["namespace"], obj["metadata"]["labels"][INSTANCE_LABEL]


def played(events):
    """A cache after some events, what it should hold, and which clusters were told of."""
    cache, model, told = Cache((CONFIG_MAP,)), {}, []
    cache.on_change = told.append
    for event, obj in events:
        known = model.get(place(obj))
        newer = known is None or version(known) <= version(obj)
        if event == "put":
            cache.put(CONFIG_MAP, obj)
            if newer:
                model[place(obj)] = obj
        else:
            cache.drop(CONFIG_MAP, obj)
            if newer:
                model.pop(place(obj), None)
    return cache, model, told


def held(cache):
    return {of: {place(obj): obj for obj in cache.of_cluster(CONFIG_MAP, of)} for of in KEYS}


@given(EVENTS)
def test_the_newest_of_each_object_is_kept_under_the_cluster_of_its_label(events):
    cache, model, _ = played(events)
    assert held(cache) == {of: {there: obj for there, obj in model.items() if key(obj) == of} for of in KEYS}
    assert len(list(cache.every(CONFIG_MAP))) == len(model)


@given(EVENTS, OBJECTS)
def test_every_cluster_that_an_event_touches_is_told_and_no_other(events, last):
    cache, _, told = played(events)
    before = held(cache)
    told.clear()
    cache.put(CONFIG_MAP, last)
    after = held(cache)

    def content(objects):
        return {there: (obj["metadata"]["labels"], obj["data"]) for there, obj in objects.items()}

    assert set(told) == {of for of in KEYS if content(before[of]) != content(after[of])}


@given(EVENTS, st.sets(st.sampled_from(["one", "two"])), st.integers(0, 9), st.sampled_from([None, "data"]))
def test_a_list_forgets_what_it_lacks_but_nothing_newer_and_nothing_beyond_its_namespace(
    events, names, at, namespace
):
    cache, model, told = played(events)
    told.clear()
    places = {(of, name) for of in ("data", "elsewhere") for name in names}
    cache.retain(CONFIG_MAP, namespace, places, str(at))
    gone = {
        there: obj
        for there, obj in model.items()
        if there not in places and namespace in (None, there[0]) and version(obj) <= at
    }
    left = {there for objects in held(cache).values() for there in objects}
    assert left == model.keys() - gone.keys()
    assert sorted(told) == sorted(key(obj) for obj in gone.values())


def test_a_new_version_alone_is_no_news_but_is_kept():
    cache, told = Cache((CONFIG_MAP,)), []
    cache.put(CONFIG_MAP, an_object(1, a="x"))
    cache.on_change = told.append
    cache.put(CONFIG_MAP, an_object(2, a="x"))
    cache.put(CONFIG_MAP, an_object(1, a="y"))
    assert told == []
    assert [version(obj) for obj in cache.every(CONFIG_MAP)] == [2]


def test_the_cluster_that_loses_an_object_by_its_label_is_told_too():
    cache, told = Cache((CONFIG_MAP,)), []
    cache.put(CONFIG_MAP, an_object(1))
    cache.on_change = told.append
    cache.put(CONFIG_MAP, an_object(2, instance="other"))
    assert told == [("data", "demo"), ("data", "other")]
    cache.drop(CONFIG_MAP, an_object(3, instance="other"))
    assert [cache.of_cluster(CONFIG_MAP, of) for of in KEYS] == [[], [], [], []]


# What is kept of an object.


def full(obj):
    """An object with all that an API server adds and nobody reads."""
    noise = {"creationTimestamp": "2026-01-01T00:00:00Z", "selfLink": "/x", "finalizers": ["theirs"]}
    managed = [{"manager": "kubectl-edit", "fieldsV1": {"f:spec": {"f:ports": {}}, "f:status": {"f:x": {}}}}]
    return {**obj, "metadata": {**obj["metadata"], **noise, "managedFields": managed}}


@settings(max_examples=30)
@given(clusters())
def test_nothing_that_decides_is_lost(parsed_):
    whole = at_rest(parsed_)
    objects = {of: full(obj) for of, obj in whole.objects.items()}
    cache = Cache((*desired.BY_NAME.values(),))
    for (kind, _), obj in objects.items():
        cache.put(desired.BY_NAME[kind], obj)
    seen = observe(cache, ("data", parsed_.name), whole.facts, nodes_visible=False)
    assert seen.objects.keys() == objects.keys()
    made = [desired.plan(parsed_, UID, it, KNOWN) for it in (Observed(objects, {}, None), seen)]
    assert made[0] == made[1]
    for of, obj in seen.objects.items():
        assert obj["metadata"].pop(FOREIGN_FIELDS) == [{"f:spec": {"f:ports": {}}}]
        assert {field for field in full(obj) if field not in obj} == set()
        assert controller_of(obj) == controller_of(whole.objects[of])


def test_a_pod_is_reduced_to_how_it_stands():
    wanted = parsed()
    seen = pod(
        wanted, wanted.root, 0, ready=False, waiting="CrashLoopBackOff", terminated="OOMKilled", restarts=3
    )
    assert seen["status"] == {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "ready": False,
        "unschedulable": "",
        "waiting": {"reason": "CrashLoopBackOff", "message": "because"},
        "terminated": "OOMKilled",
        "restarts": 3,
    }
    assert seen["spec"] == {"nodeName": "n1"}
    waiting = pod(wanted, wanted.root, 0, ready=False, unschedulable="0/3 nodes are available")
    assert waiting["status"]["unschedulable"] == "0/3 nodes are available"
    whole = pod_in_full(wanted, wanted.root, 0)
    assert len(json.dumps(reduced(POD, whole))) < len(json.dumps(whole))


def test_a_pod_that_no_kubelet_has_seen_yet_is_not_ready():
    wanted = parsed()
    whole = {"metadata": pod_in_full(wanted, wanted.root, 0)["metadata"]}
    assert reduced(POD, whole)["status"] == {
        "phase": "", "podIP": "", "ready": False, "unschedulable": "", "waiting": {}, "terminated": "", "restarts": 0,
    }  # fmt: skip


def test_a_heartbeat_of_a_node_is_no_news():
    def seen(version, at, status):
        ready = {"type": "Ready", "status": status, "lastHeartbeatTime": at}
        metadata = {"name": "n1", "labels": {"a": "b"}, "resourceVersion": version}
        return {"metadata": metadata, "spec": {}, "status": {"conditions": [ready]}}

    cache, told = Cache((NODE,)), []
    cache.put(NODE, seen("1", "10:00", "True"))
    cache.on_change = told.append
    cache.put(NODE, seen("2", "10:01", "True"))
    assert told == []
    cache.put(NODE, seen("3", "10:02", "False"))
    assert told == [("", "")]
