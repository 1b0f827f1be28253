"""Hera, the Python SDK of Argo Workflows, as an independent client of the embedded Argo."""

from __future__ import annotations

import asyncio

import pytest
from hera.workflows import Steps, Suspend, Workflow, WorkflowsService
from hera.workflows.models import WorkflowTemplateRef

NAMESPACE = "argo-workflows"
# Hera itself calls what pydantic has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:The `json` method is deprecated")


def service(url, token=None):
    """A Hera client of this server."""
    return WorkflowsService(host=url, namespace=NAMESPACE, token=token, verify_ssl=False)


async def test_hera_creates_reads_and_lists(argo):
    """What Hera sends is taken, and what is answered fits Hera's models."""
    client = service(argo.url)

    def use():
        with Workflow(
            name="hera-1", namespace=NAMESPACE, entrypoint="main", workflows_service=client
        ) as workflow:
            gate = Suspend(name="gate")
            with Steps(name="main"):
                gate(name="wait")
        created = workflow.create()
        referring = Workflow(
            generate_name="hera-",
            namespace=NAMESPACE,
            workflow_template_ref=WorkflowTemplateRef(name="dag-fanout"),
            arguments={"items": '["one"]'},
            labels={"made-by": "hera"},
            workflows_service=client,
        )
        return created, referring.create()

    created, referring = await asyncio.to_thread(use)
    assert created.metadata.name == "hera-1"
    await argo.until("hera-1", lambda w: "Suspend" in str(w["status"].get("nodes")))
    found = await asyncio.to_thread(client.get_workflow, "hera-1")
    nodes = found.status.nodes
    assert {node.display_name for node in nodes.values()} == {"hera-1", "[0]", "wait"}
    await argo.end(referring.metadata.name)
    listed = await asyncio.to_thread(client.list_workflows, label_selector="made-by=hera")
    assert [item.metadata.name for item in listed.items] == [referring.metadata.name]
    assert listed.items[0].status.phase == "Succeeded"


async def test_hera_reads_the_rest(argo_server):
    """Templates, information and versions are what Hera expects; tokens are checked."""
    async with argo_server(token="secret") as argo:
        client = service(argo.url, token="Bearer secret")
        template = await asyncio.to_thread(client.get_workflow_template, "suspend-input")
        assert template.spec.entrypoint == "main"
        templates = await asyncio.to_thread(client.list_workflow_templates)
        assert "two-gates" in {item.metadata.name for item in templates.items}
        version = await asyncio.to_thread(client.get_version)
        assert version.version.startswith("v4.1.2")
        info = await asyncio.to_thread(client.get_info)
        assert info.managed_namespace == NAMESPACE
