"""Events for people: one for each thing that happened, counted when it happens again."""

from api_support import manifest

from peersdb_operator.kube.events import MAX_MESSAGE, Events
from peersdb_operator.kube.kinds import EVENT


async def told(api):
    return {
        (event["reason"], event["message"]): (event["type"], event["count"]) for event in await api.all(EVENT)
    }


def test_an_event_is_counted_and_survives_its_being_forgotten_and_a_new_process(api):
    async def scenario():
        resource = await api.put(manifest())
        events = Events(api.kube, "one")
        for _ in range(3):
            await events.post(resource, "Happened", "once more", warning=True)
        await events.post(resource, "Happened", "otherwise", warning=False)
        assert await told(api) == {
            ("Happened", "once more"): ("Warning", 3),
            ("Happened", "otherwise"): ("Normal", 1),
        }
        (first,) = [event for event in await api.all(EVENT) if event["count"] == 3]
        assert first["involvedObject"]["uid"] == resource["metadata"]["uid"]
        await api.kube.delete(EVENT, api.namespace, first["metadata"]["name"], first["metadata"]["uid"])
        await events.post(
            resource, "Happened", "once more", warning=True
        )  # the API server forgets them after an hour
        assert (await told(api))["Happened", "once more"] == ("Warning", 1)
        await Events(api.kube, "two").post(
            resource, "Happened", "once more", warning=True
        )  # it is there already
        assert (await told(api))["Happened", "once more"][0] == "Warning"

    api.run(scenario)


def test_nothing_depends_on_an_event(api):
    """A message of any length is cut; one that cannot be posted at all is logged and no error."""

    async def scenario():
        resource = await api.put(manifest())
        events = Events(api.kube, "one")
        await events.post(resource, "Long", "x" * 5000, warning=False)
        assert list(await told(api)) == [("Long", "x" * MAX_MESSAGE)]
        nowhere = {"metadata": {**resource["metadata"], "namespace": "nowhere"}}
        await events.post(nowhere, "Lost", "nobody hears it", warning=False)

    api.run(scenario)


def test_people_find_them_by_kubectl(api):
    async def scenario():
        resource = await api.put(manifest())
        await Events(api.kube, "one").post(resource, "Happened", "once", warning=False)
        said = api.kubectl("describe", "peersdbcluster", "demo")
        assert "Happened" in said
        assert "once" in said

    api.run(scenario)
