package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"gantry/internal/platform/awsconf"
)

// bucket is a store in a bucket of S3, or of what speaks like it.
type bucket struct {
	client  *s3.Client
	uploads *transfermanager.Client
	name    string
	// sse and sseKey are the encryption to ask for; empty for the bucket's own.
	sse    types.ServerSideEncryption
	sseKey *string
}

// openBucket opens s3://BUCKET. Besides awsconf.Load's parameters it takes use_path_style, accelerate, disable_https (true or
// false), ssetype (AES256, aws:kms, aws:kms:dsse) and kmskeyid.
func openBucket(ctx context.Context, u *url.URL) (*bucket, error) {
	const pathStyle, accelerate, noHTTPS, sse, sseKey = "use_path_style", "accelerate", "disable_https", "ssetype", "kmskeyid"
	q := u.Query()
	cfg, err := awsconf.Load(ctx, q, pathStyle, accelerate, noHTTPS, sse, sseKey)
	if err != nil {
		return nil, err
	}
	flags := map[string]bool{}
	for _, name := range []string{pathStyle, accelerate, noHTTPS} {
		if !q.Has(name) {
			continue
		}
		if flags[name], err = strconv.ParseBool(q.Get(name)); err != nil {
			return nil, fmt.Errorf("parameter %s: %q is neither true nor false", name, q.Get(name))
		}
	}
	b := &bucket{name: u.Host, sse: types.ServerSideEncryption(q.Get(sse))}
	known := []types.ServerSideEncryption{types.ServerSideEncryptionAes256, types.ServerSideEncryptionAwsKms, types.ServerSideEncryptionAwsKmsDsse}
	if b.sse != "" && !slices.Contains(known, b.sse) {
		return nil, fmt.Errorf("parameter %s: %q is none of %q", sse, b.sse, known)
	}
	if q.Has(sseKey) {
		b.sseKey = aws.String(q.Get(sseKey))
	}
	b.client = s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle, o.UseAccelerate, o.EndpointOptions.DisableHTTPS = flags[pathStyle], flags[accelerate], flags[noHTTPS]
	})
	b.uploads = transfermanager.New(b.client, func(o *transfermanager.Options) {
		o.RequestChecksumCalculation = cfg.RequestChecksumCalculation // it doesn't ask the client for its own
	})
	return b, nil
}

func (b *bucket) put(ctx context.Context, key string, r io.Reader, contentType string) error {
	_, err := b.uploads.UploadObject(ctx, &transfermanager.UploadObjectInput{
		Bucket: &b.name, Key: &key, Body: r, ContentType: &contentType, ServerSideEncryption: b.sse, SSEKMSKeyID: b.sseKey,
	})
	return err
}

func (b *bucket) get(ctx context.Context, key string) (io.ReadCloser, error) {
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: &key})
	if err != nil {
		return nil, err
	}
	return out.Body, nil
}

func (b *bucket) delete(ctx context.Context, key string) error {
	_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.name, Key: &key})
	return err
}

// deleteBelow deletes one by one: not every store that speaks like S3 takes many at once.
func (b *bucket) deleteBelow(ctx context.Context, prefix string) error {
	pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: aws.String(prefix + "/")})
	for pages.HasMorePages() {
		found, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, o := range found.Contents {
			if err := b.delete(ctx, aws.ToString(o.Key)); err != nil && !b.missing(err) {
				return err
			}
		}
	}
	return nil
}

func (b *bucket) check(ctx context.Context) error {
	_, err := b.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &b.name})
	return err
}

func (*bucket) missing(err error) bool {
	var answer *awshttp.ResponseError
	return errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusNotFound
}
