//go:build cgo

package ego

import ego "github.com/edgelesssys/ego/enclave"

// New returns the platform of the enclave that the program runs in.
//
// Errors: ENOSYS outside of an SGX enclave and in simulation mode; EIO if the
// enclave's own report cannot be had.
func New() (*Platform, error) {
	return newPlatform(runtime{
		selfReport: func() (report, error) {
			r, err := ego.GetSelfReport()
			if err != nil {
				return report{}, err
			}
			return report{
				uniqueID:        r.UniqueID,
				signerID:        r.SignerID,
				productID:       r.ProductID,
				securityVersion: r.SecurityVersion,
				debug:           r.Debug,
			}, nil
		},
		productKey: ego.GetRandomProductSealKey,
		uniqueKey:  ego.GetRandomUniqueSealKey,
		key:        ego.GetSealKey,
	})
}
