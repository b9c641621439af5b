package cluster

import (
	"context"
	"encoding/json"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// missingExec returns the verbs of pods/exec that the user has no right to, in words.
// The error of a refused upgrade is text alone, so the API server is asked.
func (c *Client) missingExec(ctx context.Context, a Agent) string {
	var verbs []string
	for _, verb := range []string{"create", "get"} {
		allowed, err := c.allowed(ctx, authorizationv1.ResourceAttributes{
			Namespace: a.Pod.Namespace, Name: a.Pod.Name, Verb: verb, Resource: "pods", Subresource: "exec",
		})
		if err == nil && !allowed {
			verbs = append(verbs, verb)
		}
	}
	return strings.Join(verbs, " and ")
}

// allowed asks the API server for a right of the user.
func (c *Client) allowed(ctx context.Context, right authorizationv1.ResourceAttributes) (bool, error) {
	review := authorizationv1.SelfSubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"},
		Spec:     authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &right},
	}
	body, err := json.Marshal(review)
	if err != nil {
		return false, err
	}
	answer, err := c.rest.Post().AbsPath("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews").
		SetHeader("Content-Type", "application/json").Body(body).DoRaw(ctx)
	if err != nil {
		return false, err
	}
	err = json.Unmarshal(answer, &review)
	return review.Status.Allowed, err
}
