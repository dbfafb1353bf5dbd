"""Whether an object is what it should be: the pure part. Trees here have keys whose first letter says what is
behind them, as a schema does: ``a`` a value, ``m`` a map, ``l`` a list of items with names, ``s`` a set.
"""

import copy
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from peersdb_operator.kube import drift

few = settings(max_examples=50)  # each is a whole tree, or two
VALUES = st.integers(-2, 2) | st.sampled_from(["", "x", "500m", "1Gi"]) | st.booleans()
NAMES = st.sampled_from(["one", "two", "three"])


def trees(depth=2):
    """Maps that may overlap: few keys, each always of the same kind."""
    fields = {"a1": VALUES, "a2": VALUES, "s1": st.lists(NAMES, unique=True, max_size=2)}
    if depth:
        inner = trees(depth - 1)
        fields |= {"m1": inner, "m2": inner, "l1": st.dictionaries(NAMES, inner, max_size=2).map(as_list)}
    return st.fixed_dictionaries({}, optional=fields)


def as_list(items):
    return [{"name": name, **fields} for name, fields in items.items()]


def merged(wanted, other):
    """What server-side apply makes of two managers' fields, where the first one is forced."""
    result = copy.deepcopy(other)
    for key, value in wanted.items():
        if key not in result or key[0] == "a" or key == "name":
            result[key] = copy.deepcopy(value)
        elif key[0] == "m":
            result[key] = merged(value, result[key])
        elif key[0] == "s":
            result[key] += [item for item in value if item not in result[key]]
        else:
            others = {item["name"]: item for item in result[key]}
            mine = [merged(item, others.pop(item["name"], {})) for item in value]
            result[key] = [*others.values(), *mine]
    return result


def owned(tree):
    """The fields of a tree as FieldsV1."""
    fields = {}
    for key, value in tree.items():
        if key[0] == "m" and value:
            fields[f"f:{key}"] = {".": {}, **owned(value)}
        elif key[0] == "l" and value:
            items = {f"k:{json.dumps({'name': item['name']})}": {".": {}, **owned(item)} for item in value}
            fields[f"f:{key}"] = items
        elif key[0] == "s" and value:
            fields[f"f:{key}"] = {f"v:{json.dumps(item)}": {} for item in value}
        else:
            fields[f"f:{key}"] = {}
    return fields


def in_order(tree):
    """The tree with sets and lists of names in one order: theirs means nothing."""
    if isinstance(tree, dict):
        return {key: in_order(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return sorted((in_order(item) for item in tree), key=repr)
    return tree


def an_object(spec, **metadata):
    return {"kind": "Thing", "metadata": {"name": "it", **metadata}, "spec": spec}


def foreign(*trees_):
    return [{"f:spec": owned(tree)} for tree in trees_ if owned(tree)]


@few
@given(trees())
def test_what_is_wanted_covers_itself(tree):
    assert drift.covers(tree, tree)


@few
@given(trees(), trees())
def test_defaults_that_the_server_adds_are_no_difference(wanted, defaults):
    def filled(tree, more):
        """As defaults fill in: fields that are missing, never items of lists."""
        if isinstance(tree, dict):
            return {**more, **{key: filled(value, more) for key, value in tree.items()}}
        return [filled(item, more) for item in tree] if isinstance(tree, list) else tree

    assert drift.covers(filled(wanted, {f"default-{key}": value for key, value in defaults.items()}), wanted)


def places(tree):
    """Where each field and item of a tree is: what holds it, and its key there."""
    for key in tree if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from places(tree[key])


@few
@given(trees().filter(bool), st.data())
def test_what_lacks_anything_wanted_does_not_cover_it(wanted, data):
    live = copy.deepcopy(wanted)
    holder, key = data.draw(st.sampled_from(list(places(live))))
    del holder[key]
    assert not drift.covers(live, wanted)


def test_amounts_are_the_same_however_they_are_written():
    for one, other in [
        ("500m", 0.5),
        ("500m", "0.5"),
        ("1024Mi", "1Gi"),
        (1, "1"),
        ("1000m", "1"),
        ("1k", "1000"),
    ]:
        assert drift.covers({"cpu": one}, {"cpu": str(other)})
    for one, other in [("500m", "5"), ("1G", "1Gi"), (True, "1"), (None, "0"), ("x", "y"), ("m", "0")]:
        assert not drift.covers({"cpu": one}, {"cpu": other})


def removed(live, gone):
    """A tree without the fields of a FieldsV1, as a manager's apply that no longer has them removes them."""
    for name, child in gone.items():
        kind, _, text = name.partition(":")
        if kind == "f" and all(key == "." for key in child):
            del live[text]
        elif kind == "f":
            removed(live[text], child)
        elif kind == "v":
            live.remove(json.loads(text))
        elif kind == "k":
            item = next(item for item in live if item["name"] == json.loads(text)["name"])
            if "." in child:
                live.remove(item)
            else:
                removed(item, child)


OURS = {"manager": "peersdb-operator", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1"}


def managed(wanted, *others):
    """The owners of an object that we applied and that others wrote to."""
    foreign_ = [
        {"manager": f"other-{index}", "operation": "Update", "fieldsV1": {"f:spec": owned(tree)}}
        for index, tree in enumerate(others)
        if owned(tree)
    ]
    return [{**OURS, "fieldsV1": {"f:spec": owned(wanted)}}, *foreign_]


@few
@given(trees(), trees())
def test_what_others_added_and_is_not_wanted_becomes_ours_and_goes_with_the_next_apply(wanted, other):
    live, obj = an_object(merged(wanted, other)), {"apiVersion": "v1", **an_object(wanted)}
    before = managed(wanted, other)
    after = drift.taken_over(obj, before)
    assert (after is None) == (drift.extras(obj, drift.foreign_fields(before)) == [])
    assert (after is None) == (in_order(live) == in_order(an_object(wanted)))
    if after is not None:
        assert drift.extras(obj, drift.foreign_fields(after)) == []
        removed(live["spec"], beyond(after[0]["fieldsV1"]["f:spec"], owned(wanted)))
        assert without_empty(in_order(live)) == without_empty(in_order(an_object(wanted)))


def without_empty(tree):
    """A list or map without items is as good as none."""
    if isinstance(tree, dict):
        inner = {key: without_empty(value) for key, value in tree.items()}
        return {key: value for key, value in inner.items() if value not in ({}, [])}
    return [without_empty(item) for item in tree] if isinstance(tree, list) else tree


def beyond(fields, known):
    """What of FieldsV1 is not in others."""
    found = {}
    for name, child in fields.items():
        if name not in known:
            found[name] = child
        elif inner := beyond(child, known[name]):
            found[name] = inner
    return found


@few
@given(trees(), trees(), trees())
def test_nobody_else_loses_what_is_wanted_and_no_field_is_without_an_owner(wanted, one, other):
    before = managed(wanted, one, other)
    kept = copy.deepcopy(before)
    after = drift.taken_over({"apiVersion": "v1", **an_object(wanted)}, before)
    assert before == kept  # the original is not changed
    if after is None:
        return

    def paths(entries):
        """Those of values: who owns an empty list or map is of no account."""
        leaves = {path for entry in entries for path, _ in drift._leaves(entry["fieldsV1"], ())}
        return {path for path in leaves if path[-1][0] in ("a", "n", "v")}

    assert paths(after) == paths(before)
    for entry in after[1:]:
        was = [old for old in before if old["manager"] == entry["manager"]]
        assert paths([entry]) == {
            path for path in paths(was) if drift._first_missing(an_object(wanted), path) is None
        }


def test_an_object_that_we_never_applied_gets_us_as_an_owner():
    entry = {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:a": {}, "f:b": {}}}}
    wanted = {"apiVersion": "apps/v1", **an_object({"a": 1})}
    assert drift.taken_over(wanted, [entry]) == [
        {**OURS, "apiVersion": "apps/v1", "fieldsV1": {"f:spec": {"f:b": {}}}},
        {**entry, "fieldsV1": {"f:spec": {"f:a": {}}}},
    ]


def test_of_the_metadata_only_foreign_labels_are_taken_out():
    fields = {
        "f:metadata": {
            "f:labels": {".": {}, "f:ours": {}, "f:theirs": {}},
            "f:annotations": {"f:theirs": {}},
            "f:finalizers": {'v:"theirs"': {}},
            "f:ownerReferences": {'k:{"uid":"u"}': {}},
        }
    }
    wanted = an_object({}, labels={"ours": "1"})
    assert drift.extras(wanted, [fields]) == [("metadata", "labels", "theirs")]


def test_a_restart_that_a_person_asked_for_is_kept():
    annotations = {".": {}, "f:kubectl.kubernetes.io/restartedAt": {}, "f:other": {}}
    fields = {"f:spec": {"f:template": {"f:metadata": {"f:annotations": annotations}}}}
    wanted = an_object({"template": {"metadata": {"annotations": {}}}})
    assert drift.extras(wanted, [fields]) == [("spec", "template", "metadata", "annotations", "other")]


def test_only_what_others_said_of_the_spec_is_foreign():
    spec, ours = {"f:spec": {"f:a": {}}}, {"f:spec": {"f:b": {}}}
    managed = [
        {"manager": "peersdb-operator", "operation": "Apply", "fieldsV1": ours},
        {"manager": "peersdb-operator", "operation": "Update", "fieldsV1": ours},
        {"manager": "kubectl-edit", "fieldsV1": spec},
        {"manager": "kubectl", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        {
            "manager": "kube-controller-manager",
            "subresource": "status",
            "fieldsV1": {"f:status": {"f:x": {}}},
        },
        {"manager": "odd", "fieldsV1": {"f:status": {"f:x": {}}}},
        {"manager": "nobody"},
    ]
    assert drift.foreign_fields(managed) == [spec, {"f:spec": {"f:replicas": {}}}]


@few
@given(trees(), st.data())
def test_a_value_that_is_owned_as_a_whole_has_to_be_exactly_the_wanted_one(wanted, data):
    """As a Service's selector: a label that is added is owned as part of the whole, with no field of its own."""
    more = data.draw(trees())
    live = an_object({"selector": {**more, **wanted}})
    fields = [{"f:spec": {"f:selector": {}}}]
    assert drift.overruled(live, an_object({"selector": wanted}), fields) == ({**more, **wanted} != wanted)
    assert not drift.overruled(live, an_object({"selector": wanted}), [])


def test_a_map_whose_fields_are_owned_one_by_one_may_have_others():
    live = an_object({"m": {"a": 1, "default": 2}})
    assert not drift.overruled(live, an_object({"m": {"a": 1}}), [{"f:spec": {"f:m": {".": {}}}}])
    assert not drift.overruled(live, an_object({"m": {"a": 1}}), [{"f:spec": {"f:m": {"f:default": {}}}}])


def test_an_object_differs_by_what_it_lacks_by_what_others_added_and_by_what_others_rule():
    wanted = an_object({"a": 1, "selector": {"x": "y"}}, labels={"ours": "1"})

    def differs(spec, fields=()):
        return drift.differs(an_object(spec, labels={"ours": "1"}, foreignFields=list(fields)), wanted)

    right = {"a": 1, "selector": {"x": "y"}, "default": 7}
    assert not differs(right)
    assert differs({**right, "a": 2})
    assert differs(right, [{"f:spec": {"f:default": {}}}])
    assert differs({**right, "selector": {"x": "y", "more": "z"}}, [{"f:spec": {"f:selector": {}}}])
    assert not differs(right, [{"f:spec": {"f:selector": {}}}])


@few
@given(trees(), trees())
def test_a_stamp_tells_two_objects_apart_and_nothing_else(one, other):
    stamps = [
        drift.stamp(drift.stamped(an_object(tree))) for tree in (one, other, dict(reversed(one.items())))
    ]
    assert (stamps[0] == stamps[1]) == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))
    assert stamps[0] == stamps[2]


def test_a_fingerprint_changes_with_what_people_change_and_with_nothing_else():
    live = an_object({"a": 1}, labels={"l": "1"}, annotations={"n": "1"}, resourceVersion="1")
    first = drift.fingerprint(live)
    later = {
        **live,
        "status": {"x": 1},
        "metadata": {**live["metadata"], "resourceVersion": "2", "generation": 3},
    }
    assert drift.fingerprint(later) == first
    for changed in (
        an_object({"a": 2}, labels={"l": "1"}, annotations={"n": "1"}),
        an_object({"a": 1}, labels={"l": "2"}, annotations={"n": "1"}),
        an_object({"a": 1}, labels={"l": "1"}),
        an_object({"a": 1}, labels={"l": "1"}, annotations={"n": "1"}, foreignFields=[{"f:spec": {}}]),
        an_object({"a": 1}, labels={"l": "1"}, annotations={"n": "1"}, ownerReferences=[{}]),
    ):
        assert drift.fingerprint(changed) != first
