// Package cluster asks an API server for the agents, and the agents for their
// reports, with the rights of the user's kubeconfig.
package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	pathpkg "path"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

// Client asks an API server. It is not client-go's typed client, which registers
// every kind of every API group.
type Client struct {
	rest   rest.Interface
	config *rest.Config
	exec   func(ctx context.Context, pod types.NamespacedName, container string, command []string, out io.Writer) error
}

// New returns a client for the API server of config.
func New(config *rest.Config) (*Client, error) {
	c := rest.CopyConfig(config)
	c.APIPath, c.GroupVersion = "/api", &schema.GroupVersion{Version: "v1"}
	c.NegotiatedSerializer = serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion()
	c.ContentType, c.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	r, err := rest.RESTClientFor(c)
	if err != nil {
		return nil, err
	}
	client := &Client{rest: r, config: c}
	client.exec = client.remoteCommand
	return client, nil
}

// pageSize is how many objects are listed at a time.
const pageSize = 500

// maxObjectBytes bounds one answer of the API server: 500 Nodes with 50 images each
// are 10 MB.
const maxObjectBytes = 128 << 20

func (c *Client) get(ctx context.Context, path string, query map[string]string, into any) error {
	// A name may come from an object that a tenant wrote. AbsPath would follow "..".
	if pathpkg.Clean(path) != path {
		return fmt.Errorf("ask the API server: %q is no path of an object", path)
	}
	r := c.rest.Get().AbsPath(path)
	for name, value := range query {
		if value != "" {
			r = r.Param(name, value)
		}
	}
	stream, err := r.Stream(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	return json.NewDecoder(io.LimitReader(stream, maxObjectBytes)).Decode(into)
}

func (c *Client) path(group, namespace, resource string) string {
	if namespace == "" {
		return group + "/" + resource
	}
	return group + "/namespaces/" + namespace + "/" + resource
}

// Nodes returns the Nodes with the labels of selector, without their images.
func (c *Client) Nodes(ctx context.Context, selector string) ([]corev1.Node, error) {
	var all []corev1.Node
	next := ""
	for {
		var list corev1.NodeList
		if err := c.get(ctx, "/api/v1/nodes", map[string]string{"labelSelector": selector, "limit": strconv.Itoa(pageSize), "continue": next}, &list); err != nil {
			return nil, fmt.Errorf("list nodes: %w", err)
		}
		for i := range list.Items {
			list.Items[i].Status.Images = nil
		}
		all = append(all, list.Items...)
		if next = list.Continue; next == "" {
			return all, nil
		}
	}
}

// ListPods returns one page of pods.
func (c *Client) ListPods(ctx context.Context, namespace string, o metav1.ListOptions) (*corev1.PodList, error) {
	var list corev1.PodList
	return &list, c.get(ctx, c.path("/api/v1", namespace, "pods"), map[string]string{
		"labelSelector": o.LabelSelector, "fieldSelector": o.FieldSelector, "limit": strconv.FormatInt(o.Limit, 10), "continue": o.Continue,
	}, &list)
}

// Pod returns one pod.
func (c *Client) Pod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	var p corev1.Pod
	return &p, c.get(ctx, c.path("/api/v1", namespace, "pods")+"/"+name, nil, &p)
}

// DaemonSets returns those with the labels of selector.
func (c *Client) DaemonSets(ctx context.Context, namespace, selector string) ([]appsv1.DaemonSet, error) {
	var list appsv1.DaemonSetList
	err := c.get(ctx, c.path("/apis/apps/v1", namespace, "daemonsets"), map[string]string{"labelSelector": selector}, &list)
	return list.Items, err
}

// ConfigMap returns one ConfigMap.
func (c *Client) ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	var m corev1.ConfigMap
	return &m, c.get(ctx, c.path("/api/v1", namespace, "configmaps")+"/"+name, nil, &m)
}

// Events returns the newest Events of namespace that fields selects, limit at most.
func (c *Client) Events(ctx context.Context, namespace, fields string, limit int) ([]corev1.Event, error) {
	var list corev1.EventList
	err := c.get(ctx, c.path("/api/v1", namespace, "events"), map[string]string{"fieldSelector": fields, "limit": strconv.Itoa(limit)}, &list)
	return list.Items, err
}

// Logs returns the last lines of a container's log, limit bytes at most. Previous
// is that of the container before the last restart.
func (c *Client) Logs(ctx context.Context, pod types.NamespacedName, container string, previous bool, lines, limit int64) ([]byte, error) {
	r := c.rest.Get().AbsPath(c.path("/api/v1", pod.Namespace, "pods")+"/"+pod.Name+"/log").
		Param("container", container).Param("tailLines", strconv.FormatInt(lines, 10)).Param("limitBytes", strconv.FormatInt(limit, 10))
	if previous {
		r = r.Param("previous", "true")
	}
	stream, err := r.Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }()
	return io.ReadAll(io.LimitReader(stream, limit))
}

// Proxy asks a port of a pod through the API server. The API server passes on no
// bearer token.
func (c *Client) Proxy(ctx context.Context, pod types.NamespacedName, scheme, port, path string) (io.ReadCloser, error) {
	return c.rest.Get().MaxRetries(0).Namespace(pod.Namespace).Resource("pods").SubResource("proxy").
		Name(net.JoinSchemeNamePort(scheme, pod.Name, port)).Suffix(path).Stream(ctx)
}
