# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kinds that every Kubernetes serves: path, scope and place in the order of applying. Saves the discovery requests.

Source: the API reference of Kubernetes 1.28-1.35. A kind that is not here is asked of the server.
"""

from __future__ import annotations

import difflib

from ._model import Resource

# group version -> "Kind plural" ...; a leading "-" marks what lives outside of namespaces.
_SERVED = {
    "v1": "ConfigMap configmaps, Endpoints endpoints, Event events, LimitRange limitranges, -Namespace namespaces, -Node nodes,"
    " -PersistentVolume persistentvolumes, PersistentVolumeClaim persistentvolumeclaims, Pod pods, PodTemplate podtemplates,"
    " ReplicationController replicationcontrollers, ResourceQuota resourcequotas, Secret secrets, Service services, ServiceAccount serviceaccounts",
    "apps/v1": "ControllerRevision controllerrevisions, DaemonSet daemonsets, Deployment deployments, ReplicaSet replicasets, StatefulSet statefulsets",
    "batch/v1": "CronJob cronjobs, Job jobs",
    "autoscaling/v1": "HorizontalPodAutoscaler horizontalpodautoscalers",
    "autoscaling/v2": "HorizontalPodAutoscaler horizontalpodautoscalers",
    "networking.k8s.io/v1": "Ingress ingresses, -IngressClass ingressclasses, NetworkPolicy networkpolicies",
    "policy/v1": "PodDisruptionBudget poddisruptionbudgets",
    "rbac.authorization.k8s.io/v1": "-ClusterRole clusterroles, -ClusterRoleBinding clusterrolebindings, Role roles, RoleBinding rolebindings",
    "scheduling.k8s.io/v1": "-PriorityClass priorityclasses",
    "node.k8s.io/v1": "-RuntimeClass runtimeclasses",
    "storage.k8s.io/v1": "-CSIDriver csidrivers, -CSINode csinodes, CSIStorageCapacity csistoragecapacities, -StorageClass storageclasses,"
    " -VolumeAttachment volumeattachments",
    "coordination.k8s.io/v1": "Lease leases",
    "discovery.k8s.io/v1": "EndpointSlice endpointslices",
    "events.k8s.io/v1": "Event events",
    "certificates.k8s.io/v1": "-CertificateSigningRequest certificatesigningrequests",
    "apiextensions.k8s.io/v1": "-CustomResourceDefinition customresourcedefinitions",
    "apiregistration.k8s.io/v1": "-APIService apiservices",
    "admissionregistration.k8s.io/v1": "-MutatingWebhookConfiguration mutatingwebhookconfigurations,"
    " -ValidatingWebhookConfiguration validatingwebhookconfigurations, -ValidatingAdmissionPolicy validatingadmissionpolicies,"
    " -ValidatingAdmissionPolicyBinding validatingadmissionpolicybindings",
}

_FOUNDATIONS = {"Namespace", "CustomResourceDefinition", "PriorityClass", "StorageClass", "RuntimeClass"}
_WORKLOADS = {"Pod", "ReplicationController", "ReplicaSet", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "HorizontalPodAutoscaler"}
_GATES = {
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "APIService",
}
LEVELS = range(5)
CUSTOM = 3  # the level of custom resources


def _table() -> dict[tuple[str, str], Resource]:
    table = {}
    for version, served in _SERVED.items():
        for entry in served.split(","):
            kind, plural = entry.split()
            table[(version, kind.lstrip("-"))] = Resource(plural, not kind.startswith("-"))
    return table


BUILT_IN = _table()


def level(api_version: str, kind: str) -> int:
    """0 foundations, 1 identities, config, storage and services, 2 workloads, 3 custom resources, 4 webhooks."""
    if (api_version, kind) not in BUILT_IN:
        return CUSTOM
    if kind in _FOUNDATIONS:
        return 0
    if kind in _WORKLOADS:
        return 2
    return 4 if kind in _GATES else 1


def nearest(api_version: str, kind: str) -> str | None:
    """Empty where the kind is known; the known kind that it misspells; None where it may be a kind that only the server knows."""
    by_lower = {name.lower(): name for version, name in BUILT_IN if version == api_version}
    if kind in by_lower.values():
        return ""
    close = difflib.get_close_matches(kind.lower(), by_lower, n=1, cutoff=0.9)
    return by_lower[close[0]] if close else None


def home(kind: str) -> str | None:
    """The newest group version that serves this built-in kind, for "no Deployment in v1"."""
    versions = [version for version, name in BUILT_IN if name == kind]
    return versions[-1] if versions else None
