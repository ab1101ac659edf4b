"""The manifests of deploy/k8s: how they are built, and the rules that each object keeps."""
