package kube

import (
	"context"
	"encoding/json"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ReviewToken returns the user whom token belongs to, and false for one that the
// API server does not accept. It needs the right to create tokenreviews.
func (c *Client) ReviewToken(ctx context.Context, token string) (authenticationv1.UserInfo, bool, error) {
	review := authenticationv1.TokenReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview"},
		Spec:     authenticationv1.TokenReviewSpec{Token: token},
	}
	err := c.review(ctx, "/apis/authentication.k8s.io/v1/tokenreviews", &review)
	return review.Status.User, review.Status.Authenticated, err
}

// ReviewAccess reports whether user may get the non-resource URL path. It needs the
// right to create subjectaccessreviews.
func (c *Client) ReviewAccess(ctx context.Context, user authenticationv1.UserInfo, path string) (bool, error) {
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for k, v := range user.Extra {
		extra[k] = authorizationv1.ExtraValue(v)
	}
	review := authorizationv1.SubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SubjectAccessReview"},
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: "get"},
		},
	}
	err := c.review(ctx, "/apis/authorization.k8s.io/v1/subjectaccessreviews", &review)
	return review.Status.Allowed && !review.Status.Denied, err
}

// review posts object as JSON, since the scheme of this client knows core/v1 only,
// and replaces it by the answer.
func (c *Client) review(ctx context.Context, path string, object any) error {
	body, err := json.Marshal(object)
	if err != nil {
		return err
	}
	answer, err := c.rest.Post().AbsPath(path).MaxRetries(0).
		SetHeader("Content-Type", "application/json").SetHeader("Accept", "application/json").
		Body(body).Do(ctx).Raw()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, object); err != nil {
		return fmt.Errorf("read the answer of %s: %w", path, err)
	}
	return nil
}
