// What the golden files must be, in the words of @slack/types. AnyBlock, which
// its views hold, takes an object of any type with any block_id; KnownBlock does
// not, so it stands in AnyBlock's place.
import type { HomeView, KnownBlock, MessageAttachment, MessageMetadata, ModalView } from '@slack/types';

export type { Manifest } from '@slack/web-api/dist/types/request/manifest.js';

export type Blocks = KnownBlock[];

/** What chat.postMessage, chat.update, response URLs and slash commands take. */
export interface Message {
  text: string;
  blocks?: Blocks;
  attachments?: MessageAttachment[];
  metadata?: MessageMetadata;
  response_type?: 'ephemeral' | 'in_channel';
  replace_original?: boolean;
}

export interface Modal extends Omit<ModalView, 'blocks'> {
  blocks: Blocks;
}

export interface Home extends Omit<HomeView, 'blocks'> {
  blocks: Blocks;
}

// What Slack documents and its types don't know yet: from which number an ordered
// list counts (docs.slack.dev, "Rich text list element").
declare module '@slack/types/dist/block-kit/block-elements.js' {
  interface RichTextList {
    offset?: number;
  }
}
