package kube

import (
	"context"
	"io"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// Client asks an API server about Nodes, Pods and Events. It is not client-go's
// typed client, which registers every kind of every API group, and the schemas
// of server-side apply, in whatever links it: 4 ms at each start of nodetune,
// 1.5 MiB of memory and 25 MB of binary.
type Client struct {
	rest      rest.Interface
	params    runtime.ParameterCodec
	noRetries bool
}

// NewClient returns a client for the API server of config.
func NewClient(config *rest.Config) (*Client, error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	c := rest.CopyConfig(config)
	c.APIPath, c.GroupVersion = "/api", &corev1.SchemeGroupVersion
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	c.ContentType = runtime.ContentTypeProtobuf
	c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	r, err := rest.RESTClientFor(c)
	return &Client{rest: r, params: runtime.NewParameterCodec(scheme)}, err
}

// WithoutRetries returns a client whose calls return 429 and 5xx at once.
// client-go repeats such a request ten times when the answer has a Retry-After,
// below each try of a caller that has a schedule of its own.
func (c *Client) WithoutRetries() *Client {
	once := *c
	once.noRetries = true
	return &once
}

// Nodes returns the calls on Nodes.
func (c *Client) Nodes() Resource[corev1.Node, corev1.NodeList] {
	return Resource[corev1.Node, corev1.NodeList]{c, "nodes", ""}
}

// Pods returns the calls on the pods of namespace, or of all.
func (c *Client) Pods(namespace string) Resource[corev1.Pod, corev1.PodList] {
	return Resource[corev1.Pod, corev1.PodList]{c, "pods", namespace}
}

// Events returns the calls on the Events of namespace.
func (c *Client) Events(namespace string) EventClient {
	return Resource[corev1.Event, corev1.EventList]{c, "events", namespace}
}

// Proxy asks a port of a pod through the API server.
func (c *Client) Proxy(ctx context.Context, pod types.NamespacedName, scheme, port, path string) (io.ReadCloser, error) {
	return c.rest.Get().Namespace(pod.Namespace).Resource("pods").SubResource("proxy").
		Name(net.JoinSchemeNamePort(scheme, pod.Name, port)).Suffix(path).Stream(ctx)
}

// Resource is the calls on one kind of object, which have the form of client-go's.
type Resource[T, L any] struct {
	client    *Client
	resource  string
	namespace string // "" is all, or none
}

func (k Resource[T, L]) request(r *rest.Request, options runtime.Object) *rest.Request {
	if k.client.noRetries {
		r = r.MaxRetries(0)
	}
	return r.NamespaceIfScoped(k.namespace, k.namespace != "").Resource(k.resource).VersionedParams(options, k.client.params)
}

// into decodes an answer. *O is a runtime.Object, which Go has no short way to
// say of a type parameter.
func into[O any](answer rest.Result) (*O, error) {
	o := new(O)
	return o, answer.Into(any(o).(runtime.Object))
}

// Get returns the object called name.
func (k Resource[T, L]) Get(ctx context.Context, name string, o metav1.GetOptions) (*T, error) {
	return into[T](k.request(k.client.rest.Get(), &o).Name(name).Do(ctx))
}

// List returns the objects that o selects.
func (k Resource[T, L]) List(ctx context.Context, o metav1.ListOptions) (*L, error) {
	return into[L](k.request(k.client.rest.Get(), &o).Do(ctx))
}

// Watch follows the objects that o selects.
func (k Resource[T, L]) Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.Watch = true
	return k.request(k.client.rest.Get(), &o).Watch(ctx)
}

// Create makes object.
func (k Resource[T, L]) Create(ctx context.Context, object *T, o metav1.CreateOptions) (*T, error) {
	return into[T](k.request(k.client.rest.Post(), &o).Body(object).Do(ctx))
}

// Patch changes the object called name, or a subresource of it.
func (k Resource[T, L]) Patch(ctx context.Context, name string, kind types.PatchType, body []byte, o metav1.PatchOptions, subresources ...string) (*T, error) {
	return into[T](k.request(k.client.rest.Patch(kind), &o).Name(name).SubResource(subresources...).Body(body).Do(ctx))
}
