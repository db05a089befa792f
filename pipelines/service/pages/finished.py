"""The pages about what runs left: documents, thresholds, clusters, labels, reports."""

from fastapi import APIRouter

from pipelines.service.pages import (
    clusters,
    comparing,
    document,
    documents,
    forking,
    labelling,
    reports,
    thresholds,
)

router = APIRouter(include_in_schema=False)
for part in (documents, document, thresholds, forking, clusters, comparing, labelling, reports):
    router.include_router(part.router)
