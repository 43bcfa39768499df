import { type Message, type MessageInitShape, create } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import * as pb from "../gen/bolthole/v1/store_pb.js";
import type { Versioned } from "../versioned-store.js";
import { type Codec, InvalidArgumentError, at } from "./message-codec.js";

/** Returns the codec of the response of a load: a record with its version, or undefined. */
export function loaded<
  M extends Message & { version: string },
  K extends Exclude<keyof M, keyof Message | "version">,
  T,
>(
  desc: GenMessage<M>,
  member: K & string,
  codec: Codec<Exclude<M[K], undefined>, T>,
): Codec<M, Versioned<T> | undefined> {
  return {
    toModel: (wire) => {
      const value = wire[member] as Exclude<M[K], undefined> | undefined;
      return value && { value: at(member, () => codec.toModel(value)), version: wire.version };
    },
    toWire: (versioned) => {
      const members = versioned && { [member]: codec.toWire(versioned.value), version: versioned.version };
      return create<GenMessage<M>>(desc, members as MessageInitShape<GenMessage<M>>);
    },
  };
}

/**
 * Returns a writer of the response of a load in the form that the request names. Throws an InvalidArgumentError for a form that the
 * record does not have.
 */
export function loadedInForm<M extends Message & { version: string }, T>(
  desc: GenMessage<M>,
  codec: Codec<M, Versioned<T> | undefined>,
  forms: Readonly<Partial<Record<pb.RecordForm, (value: T) => object>>>,
): (
  loaded: Versioned<T> | undefined,
  request?: () => { readonly form: pb.RecordForm },
) => MessageInitShape<GenMessage<M>> {
  return (found, request) => {
    const { form } = request?.() ?? { form: pb.RecordForm.UNSPECIFIED };
    if (form === pb.RecordForm.UNSPECIFIED) return codec.toWire(found);
    const convert = formOf(forms, form);
    const members = found && { ...convert(found.value), version: found.version };
    return create<GenMessage<M>>(desc, members as MessageInitShape<GenMessage<M>>);
  };
}

/** Returns what a record has for a form. Throws an InvalidArgumentError for a form that the record does not have. */
export function formOf<T>(forms: Readonly<Partial<Record<pb.RecordForm, T>>>, form: pb.RecordForm): T {
  const found = forms[form];
  if (found) return found;
  throw new InvalidArgumentError("form", "a form that this record has", pb.RecordForm[form]);
}
