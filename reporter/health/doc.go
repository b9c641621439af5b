// Package health reports whether the agent makes progress: to the liveness and
// readiness probes of the kubelet, and to systemd.
package health
