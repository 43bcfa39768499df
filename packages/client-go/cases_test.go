package bolthole

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"hash/crc32"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	pb "github.com/bolthole/bolthole-go/boltholepb"
)

// readCases reads a file of the cases that the clients of all languages share.
func readCases(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile("../conformance/cases/" + name)
	if os.IsNotExist(err) {
		t.Skip("the shared cases are only in the checkout")
	}
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheErrorTableIsThatOfTheContract(t *testing.T) {
	var file struct {
		Variants []struct{ Variant, Prefix string }
		Reasons  []struct {
			Reason      Reason
			Code        codes.Code
			Applied     Applied
			Retry       Retry
			AfterLookup bool `json:"after_lookup"`
		}
	}
	// The codes are numbers.
	readCases(t, "errors.json", &file)
	if len(file.Reasons) != len(reasons) || len(file.Variants) != len(variantsOnWire) {
		t.Errorf("expected %d reasons and %d variants, found %d and %d",
			len(file.Reasons), len(file.Variants), len(reasons), len(variantsOnWire))
	}
	for _, one := range file.Reasons {
		expected := reasonFacts{one.Code, one.Applied, one.Retry, one.AfterLookup}
		if found := reasons[one.Reason]; found != expected {
			t.Errorf("%s: expected %v, found %v", one.Reason, expected, found)
		}
	}
	prefixes := map[string]bool{}
	for _, variant := range variantsOnWire {
		prefixes[string(variant)+": "] = true
	}
	for _, one := range file.Variants {
		if !prefixes[one.Prefix] {
			t.Errorf("expected the variant %s with the words %q", one.Variant, one.Prefix)
		}
	}
}

func TestErrorsOfTheStore(t *testing.T) {
	var file struct {
		Variants []struct{ Variant, Prefix string }
		Details  []struct {
			Name, Message string
			Detail        json.RawMessage
			Error         *struct {
				Variant, Text            string
				Reason                   Reason
				Applied                  Applied
				Retry                    Retry
				RuntimeID                *string `json:"runtime_id"`
				Record, Expected, Actual string
				Identical                *bool
				RequestIDTimes           *struct {
					HorizonMS   uint64 `json:"horizon_ms"`
					StoreTimeMS uint64 `json:"store_time_ms"`
					LatestMS    uint64 `json:"latest_ms"`
				} `json:"request_id_times"`
			}
		}
	}
	readCases(t, "errors.json", &file)
	words := map[string]Variant{}
	for _, one := range file.Variants {
		words[one.Variant] = Variant(strings.TrimSuffix(one.Prefix, ": "))
	}
	for _, one := range file.Details {
		t.Run(one.Name, func(t *testing.T) {
			detail := &pb.StoreErrorDetail{}
			if err := protojson.Unmarshal(one.Detail, detail); err != nil {
				t.Fatal(err)
			}
			st, err := status.New(codes.Aborted, one.Message).WithDetails(detail)
			if err != nil {
				t.Fatal(err)
			}
			found := carriedError(st)
			if (found == nil) != (one.Error == nil) {
				t.Fatalf("expected %v, found %v", one.Error, found)
			}
			if found == nil {
				return
			}
			want := &Error{
				Variant: words[one.Error.Variant], Reason: one.Error.Reason, Applied: one.Error.Applied, Retry: one.Error.Retry,
				Text: one.Error.Text, RuntimeID: one.Error.RuntimeID, Record: one.Error.Record, Expected: one.Error.Expected,
				Actual: one.Error.Actual, Identical: one.Error.Identical, Truncated: found.Truncated,
			}
			if times := one.Error.RequestIDTimes; times != nil {
				want.RequestIDTimes = &RequestIDTimes{times.HorizonMS, times.StoreTimeMS, times.LatestMS}
			}
			if toJSON(t, want) != toJSON(t, found) {
				t.Errorf("expected %s\nfound %s", toJSON(t, want), toJSON(t, found))
			}
		})
	}
}

func toJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var namesOfCodes = map[string]codes.Code{
	"UNAVAILABLE": codes.Unavailable, "INTERNAL": codes.Internal, "DEADLINE_EXCEEDED": codes.DeadlineExceeded,
	"PERMISSION_DENIED": codes.PermissionDenied,
}

func TestRetries(t *testing.T) {
	var file struct {
		Cases []struct {
			Name     string
			Mutation bool
			Attempts []struct {
				Lost     string
				Refused  Reason
				Response bool
			}
			Expect struct {
				Attempts int
				Reason   Reason
			}
		}
	}
	readCases(t, "retries.json", &file)
	for _, one := range file.Cases {
		t.Run(one.Name, func(t *testing.T) {
			requestID := ""
			if one.Mutation {
				requestID = "0198f01a-0000-7000-8000-000000000003"
			}
			made := 0
			ctx, stop := context.WithTimeout(context.Background(), time.Hour)
			defer stop()
			err := callWithRetries(ctx, retriedCall{
				requestID: requestID,
				connect:   func(context.Context) error { return nil },
				sleep:     func(context.Context, time.Duration) {},
				attempt: func(ctx context.Context) error {
					if made == len(one.Attempts) {
						t.Fatalf("expected %d attempts, found one more", made)
					}
					attempt := one.Attempts[made]
					made++
					switch {
					case attempt.Response:
						return nil
					case attempt.Lost != "":
						return attemptError(ctx, status.Error(namesOfCodes[attempt.Lost], "lost"), callFacts{mutation: one.Mutation})
					}
					return failed(one.Mutation, attempt.Refused, "refused")
				},
			})
			if made != one.Expect.Attempts {
				t.Errorf("expected %d attempts, found %d", one.Expect.Attempts, made)
			}
			if one.Expect.Reason == "" {
				if err != nil {
					t.Errorf("expected a response, found %v", err)
				}
				return
			}
			if !isReason(err, one.Expect.Reason) {
				t.Fatalf("expected %s, found %v", one.Expect.Reason, err)
			}
			if one.Expect.Reason == ErrOutcomeUnknown && err.(*Error).RequestID != requestID {
				t.Errorf("expected the request id in %#v", err)
			}
		})
	}
}

type simulatedClock struct{ wallMS, monotonicMS int64 }

func (c *simulatedClock) wall() int64      { return c.wallMS }
func (c *simulatedClock) monotonic() int64 { return c.monotonicMS }

func TestRequestIDs(t *testing.T) {
	var file struct {
		StartMS int64 `json:"start_ms"`
		Cases   []struct {
			Name  string
			Steps []struct {
				Jump, Wait int64
				Next       *int64
				Learn      *struct {
					HorizonMS   uint64 `json:"horizon_ms"`
					StoreTimeMS uint64 `json:"store_time_ms"`
					LatestMS    uint64 `json:"latest_ms"`
				}
			}
		}
	}
	readCases(t, "request-ids.json", &file)
	for _, one := range file.Cases {
		t.Run(one.Name, func(t *testing.T) {
			clock := &simulatedClock{file.StartMS, file.StartMS}
			ids := newRequestIDs(clock)
			for _, step := range one.Steps {
				clock.wallMS += step.Jump + step.Wait
				clock.monotonicMS += step.Wait
				if learn := step.Learn; learn != nil {
					ids.learn(RequestIDTimes{learn.HorizonMS, learn.StoreTimeMS, learn.LatestMS})
				}
				if step.Next == nil {
					continue
				}
				id := ids.next()
				found, err := strconv.ParseInt(id[:8]+id[9:13], 16, 64)
				if err != nil || found != *step.Next || id[14] != '7' || !strings.Contains("89ab", id[19:20]) {
					t.Errorf("expected an id of %d, found %s of %d", *step.Next, id, found)
				}
			}
		})
	}
}

type documentPart struct {
	Text     string
	Template string
	From, To int
}

func makeDocument(parts []documentPart) []byte {
	var document strings.Builder
	for _, part := range parts {
		document.WriteString(part.Text)
		for n := part.From; n < part.To; n++ {
			hash := strconv.FormatUint(uint64(n)*2654435761%(1<<32), 10)
			document.WriteString(strings.NewReplacer("{n}", strconv.Itoa(n), "{h}", hash).Replace(part.Template))
		}
	}
	return []byte(document.String())
}

func TestPatches(t *testing.T) {
	var file struct {
		Cases []struct {
			Name   string
			Limits struct {
				Pieces      int
				InsertBytes int `json:"insert_bytes"`
			}
			Base, Next []documentPart
			Patch      *struct {
				ResultLength uint64 `json:"result_length"`
				ResultCRC32  uint32 `json:"result_crc32"`
				Pieces       []struct {
					Copy   []uint64
					Insert *string
				}
			}
		}
	}
	readCases(t, "patches.json", &file)
	for _, one := range file.Cases {
		t.Run(one.Name, func(t *testing.T) {
			base, next := makeDocument(one.Base), makeDocument(one.Next)
			limits := patchLimits{one.Limits.Pieces, one.Limits.InsertBytes}
			patch := createPatch(&cachedDocument{version: "v.1", bytes: base}, next, crc32.ChecksumIEEE(next), limits)
			if (patch == nil) != (one.Patch == nil) {
				t.Fatalf("expected %v, found %v", one.Patch, patch)
			}
			if patch == nil {
				return
			}
			if patch.GetResultLength() != one.Patch.ResultLength || patch.GetResultCrc32() != one.Patch.ResultCRC32 {
				t.Errorf("expected %d bytes with CRC %d, found %d with %d", one.Patch.ResultLength, one.Patch.ResultCRC32,
					patch.GetResultLength(), patch.GetResultCrc32())
			}
			if string(applyPatch(base, patch)) != string(next) {
				t.Error("expected a patch that makes the new document")
			}
			var found, expected []string
			for _, piece := range patch.GetPieces() {
				if copied := piece.GetCopy(); copied != nil {
					found = append(found, "copy "+strconv.FormatUint(copied.GetOffset(), 10)+" "+strconv.FormatUint(copied.GetLength(), 10))
				} else {
					found = append(found, "insert "+base64.StdEncoding.EncodeToString(piece.GetInsert()))
				}
			}
			for _, piece := range one.Patch.Pieces {
				if piece.Insert != nil {
					expected = append(expected, "insert "+*piece.Insert)
				} else {
					expected = append(expected, "copy "+strconv.FormatUint(piece.Copy[0], 10)+" "+strconv.FormatUint(piece.Copy[1], 10))
				}
			}
			if strings.Join(found, "\n") != strings.Join(expected, "\n") {
				t.Errorf("expected %v, found %v", expected, found)
			}
		})
	}
}

func applyPatch(base []byte, patch *pb.SnapshotPatch) []byte {
	var document []byte
	for _, piece := range patch.GetPieces() {
		if copied := piece.GetCopy(); copied != nil {
			document = append(document, base[copied.GetOffset():copied.GetOffset()+copied.GetLength()]...)
		} else {
			document = append(document, piece.GetInsert()...)
		}
	}
	return document
}

func FuzzDiffMakesTheNewDocument(f *testing.F) {
	f.Add([]byte("abc"), []byte("abd"), uint16(3), uint16(9))
	long := makeDocument([]documentPart{{Template: "row {n} {h};", From: 0, To: 2000}})
	f.Add(long, append(append([]byte{}, long[9000:]...), long[:12000]...), uint16(4096), uint16(60000))
	f.Add(long, append(append(append([]byte{}, long[:5000]...), "new"...), long...), uint16(2), uint16(2))
	f.Fuzz(func(t *testing.T, base, next []byte, pieces, inserted uint16) {
		limits := patchLimits{int(pieces), int(inserted)}
		found := diffDocuments(base, next, limits)
		if found == nil {
			return
		}
		var document []byte
		total := 0
		for _, piece := range found {
			if piece.insert != nil {
				document, total = append(document, piece.insert...), total+len(piece.insert)
			} else {
				document = append(document, base[piece.offset:piece.offset+piece.length]...)
			}
		}
		if string(document) != string(next) || len(found) > limits.pieces || total > limits.insertBytes {
			t.Errorf("expected the new document within the limits, found %d pieces with %d new bytes", len(found), total)
		}
	})
}
