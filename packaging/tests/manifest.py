"""What the manifest must be: valid for every release, refused when misspelt, and no more privileged than the unit."""

import copy
import re
import sys
import tomllib
from pathlib import Path

import kubernetes_validate
import yaml

# The first with `appArmorProfile` as a field, and all later ones that the package knows.
OLDEST = (1, 30)
WRITABLE = {"/run/telltale", "/var/lib/telltale"}

held = 0
broken = []


def check(what, condition, detail=""):
    global held
    if condition:
        held += 1
        print(f"ok      {what}")
    else:
        broken.append(what)
        print(f"FAILED  {what}: {detail}")


def releases():
    schemas = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    found = {tuple(map(int, re.match(r"v(\d+)\.(\d+)", path.name).groups())) for path in schemas.glob("v1.*-strict")}
    return sorted(release for release in found if release >= OLDEST)


def problem(resource, release):
    """Why a release refuses the object; None where it does not."""
    try:
        kubernetes_validate.validate(resource, "%d.%d" % release, strict=True)
    except kubernetes_validate.ValidationError as error:
        return error.message
    return None


def main(manifest, unit):
    resources = [resource for resource in yaml.safe_load_all(Path(manifest).read_text()) if resource]
    known = releases()
    check("there are releases to check against", len(known) >= 8, known)
    for release in known:
        problems = {resource["kind"]: problem(resource, release) for resource in resources}
        check(f"valid for Kubernetes {release[0]}.{release[1]}", not any(problems.values()), problems)

    by_kind = {resource["kind"]: resource for resource in resources}
    kinds = ["ClusterRole", "ClusterRoleBinding", "ConfigMap", "DaemonSet", "Namespace", "ServiceAccount"]
    check("the kinds", sorted(by_kind) == kinds, sorted(by_kind))
    daemons = by_kind["DaemonSet"]
    misspelt = copy.deepcopy(daemons)
    misspelt["spec"]["template"]["spec"]["hostPid"] = True
    check("a misspelt field is refused", problem(misspelt, known[-1]) is not None, "it was not")

    pod = daemons["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    security = container["securityContext"]
    check("in the host's process ids alone", (pod["hostPID"], pod["hostNetwork"], pod["hostIPC"]) == (True, False, False))
    check("not privileged", not security["privileged"] and not security["allowPrivilegeEscalation"])
    check("all capabilities dropped first", security["capabilities"]["drop"] == ["ALL"])
    added = {f"CAP_{name}" for name in security["capabilities"]["add"]}
    lines = Path(unit).read_text().splitlines()
    of_unit = next(line for line in lines if line.startswith("CapabilityBoundingSet=")).split("=", 1)[1].split()
    check("the capabilities of the service", added == set(of_unit), added ^ set(of_unit))
    fields = {each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"] for each in container["env"]}
    check("it is told its node's name", fields == {"NODE_NAME": "spec.nodeName"}, fields)
    check("and passes it on", "--node-name=$(NODE_NAME)" in container["command"], container["command"])
    check("the root file system is read-only", security["readOnlyRootFilesystem"])
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    check("every volume is mounted", set(mounts) == {volume["name"] for volume in pod["volumes"]})
    writable = {mount["mountPath"] for mount in mounts.values() if not mount.get("readOnly")}
    check("nothing is writable but its runtime and state directories", writable == WRITABLE, writable)
    check("memory is bounded", "memory" in container["resources"]["limits"])
    check("a token of the API server in this pod alone",
          (pod["automountServiceAccountToken"], by_kind["ServiceAccount"]["automountServiceAccountToken"]) == (True, False))
    rights = {(group, resource, verb) for rule in by_kind["ClusterRole"]["rules"] for group in rule["apiGroups"]
              for resource in rule["resources"] for verb in rule["verbs"]}
    least = {("", "pods", "list"), ("", "pods", "watch"), ("apps", "replicasets", "get"), ("batch", "jobs", "get"),
             ("", "namespaces", "get")}
    check("for the least rights", rights == least, rights ^ least)
    # As a comment, to the end of the object.
    comment = Path(manifest).read_text().split("# With kubernetes.destinations", 1)[1].split("---", 1)[0]
    offered = yaml.safe_load(comment.split("\n", 1)[1].replace("  # ", "  "))
    optional = {(group, resource, verb) for rule in offered for group in rule["apiGroups"] for resource in rule["resources"]
                for verb in rule["verbs"]}
    check("the rights that destinations take, as a comment", optional == {
        ("", "services", "list"), ("", "services", "watch"), ("discovery.k8s.io", "endpointslices", "list"),
        ("discovery.k8s.io", "endpointslices", "watch")}, optional)
    named = [rule.get("resourceNames") for rule in by_kind["ClusterRole"]["rules"] if "namespaces" in rule["resources"]]
    check("of namespaces one alone", named == [["kube-system"]], named)
    account, bound = by_kind["ServiceAccount"]["metadata"], by_kind["ClusterRoleBinding"]
    check("which are its own", bound["roleRef"]["name"] == by_kind["ClusterRole"]["metadata"]["name"]
          and bound["subjects"] == [{"kind": "ServiceAccount"} | {key: account[key] for key in ["name", "namespace"]}], bound)
    check("one node in ten at a time", daemons["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == "10%")
    labels = daemons["spec"]["template"]["metadata"]["labels"]
    check("it selects its own pods", daemons["spec"]["selector"]["matchLabels"].items() <= labels.items())
    of_cluster = {"Namespace", "ClusterRole", "ClusterRoleBinding"}
    namespaces = {resource["metadata"].get("namespace") for resource in resources if resource["kind"] not in of_cluster}
    check("all in its namespace", namespaces == {by_kind["Namespace"]["metadata"]["name"]}, namespaces)

    # As shipped, and with the collector that the comment offers.
    text = by_kind["ConfigMap"]["data"]["telltale.toml"]
    check("the configuration as shipped is empty", tomllib.loads(text) == {}, text)
    offered = tomllib.loads(text.replace("# collector", "collector").replace("# kubernetes", "kubernetes"))
    check("the configuration takes a collector, a cluster's name, and destinations",
          set(offered) == {"collector", "kubernetes"} and set(offered["kubernetes"]) == {"cluster", "destinations"}, offered)

    print(f"{held} passed, {len(broken)} failed")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
