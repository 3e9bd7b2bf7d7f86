#include "clients/bench/bundled_conversations.h"

namespace condensed::bench {

// Lengths follow what people type: many short turns, some of a few sentences, now and then a pasted page.
const std::string_view kBundledConversations = R"(Hello!
What can you tell me about lighthouses?
Why are so many of them painted in stripes?
Thanks.

I have two hours in the afternoon and three children of four, six and nine years. It rains. What would you do with them, without a screen, and with what one finds in an ordinary kitchen?
The youngest has already lost interest. Something quieter?

Write the beginning of a story. It was a dark night, and the captain had not slept since the island.
Go on.
Go on, but let the cook speak.
And how does it end?

Which is heavier, a litre of milk or a litre of water?
Why?

Please shorten this letter to three sentences, and keep it polite. Dear Sir or Madam, in the second week of March I ordered from your shop two chairs of the kind that your catalogue calls Harbour, in dark oak, to be delivered to the address below. On the second of April one chair came. It was a fine chair, and I have nothing to say against it, but it was in light oak, and there was one of it. I wrote to you on the third, on the tenth and on the nineteenth of April, and each time I was told that my letter was important to you and that somebody would see to it. It is now the end of May. I have one chair, in a colour that I did not choose, and a table at which two people would like to sit. I do not ask for my money, and I do not ask for an apology. I should like to know on which day the second chair will come, and whether it will be dark. Yours faithfully.
Make it a little less polite.

Name five rivers.
Only those that flow north.

My program keeps a list of everything that it has ever seen, so that it never does the same work twice. It has run for eleven days and takes nine gigabytes. A colleague says that I should keep only the latest thousand entries, and another that I should throw away those that were used least. Who is right?
And if the entries are of very different sizes?
How would I measure which of the two is better for us, without changing anything yet?

How do you say good morning in Portuguese?
And in Finnish?
And goodnight?

Explain to me what a tide is, as if I were ten years old.
But why are there two of them a day?
I do not understand that. Say it in another way, please, and with an example that has to do with a bathtub or a bucket or something else that I have at home.

Is it true that the old road over the hill was closed because of the stones, or was there another reason? My grandmother always said that it was the innkeeper at the bottom of the valley, who did not like that the carts no longer stopped at his door, and that he had a cousin in the office where the roads were drawn on paper. On the other hand she also said that the bell in the church could be heard from the sea, and that is forty miles.
Who would know?

Yes.
No.
Tell me something that I do not know.

Put these in order, from the oldest to the newest: the wheel, the needle, the button, the nail, the saw.
Are you sure about the needle?

Read the following page and tell me who is lying. When the four of them had sat down, Miller said that he had locked the barn himself at nine, and hung the key on the hook beside the stove, where it always hung, and where, he added, everybody could see it. Anna said nothing, but she looked at the hook. The teacher, who had come for the eggs and stayed for the soup, remembered the clock striking while he crossed the yard, and that there had been a light in the barn, a small one, low down, as if somebody had put a lantern on the floor; but he was not certain of how often the clock had struck, since he had been counting his steps at the same time, as he did every evening, on his doctor's advice. Old Peter laughed. He had been in the barn until ten, he said, with the sick calf, and had seen neither Miller nor a key, and if anybody wished to know where the lantern was now, it stood on the shelf behind the door, with a cracked glass, and he would be obliged to whoever paid for it. Then the door opened, and the calf came in, in perfect health.
Who locked the barn, then?
Could they all be telling the truth?

What rhymes with orange?

I should like to bake bread, but I have never done it. I have flour, water, salt, and a jar of something grey that a friend gave me and that she calls Hermann. What do I do?
How long?
It has not risen at all. The kitchen is rather cold, perhaps fourteen degrees, and I put it beside the window so that it would have some light. Was that wrong? Can it still be saved, or do I have to begin again from the start?
Good. Thank you!
)";

}  // namespace condensed::bench
