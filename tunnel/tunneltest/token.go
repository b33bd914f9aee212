package tunneltest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

// tokenKey signs a gateway's tokens: JSON Web Tokens (RFC 7519) in HS256 with nothing but an expiry,
// which only the client looks at.
type tokenKey []byte

func newTokenKey() tokenKey {
	key := make(tokenKey, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return key
}

// issue makes a token for an hour.
func (k tokenKey) issue() string {
	enc := base64.RawURLEncoding
	signed := enc.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." +
		enc.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, time.Now().Add(time.Hour).Unix()))
	return signed + "." + enc.EncodeToString(k.sign(signed))
}

func (k tokenKey) valid(token string) bool {
	dot := strings.LastIndexByte(token, '.')
	if dot < 0 {
		return false
	}
	signature, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	return err == nil && hmac.Equal(signature, k.sign(token[:dot]))
}

func (k tokenKey) sign(s string) []byte {
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte(s))
	return mac.Sum(nil)
}
