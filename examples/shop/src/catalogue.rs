//! What the shop sells: its data, written into the database by `crate::schema`.

/// A product as it is seeded.
pub(crate) struct Seed {
    pub(crate) id: i32,
    pub(crate) category: &'static str,
    pub(crate) name: &'static str,
    pub(crate) price_cents: i64,
    pub(crate) picture: &'static str,
    pub(crate) blurb: &'static str,
    pub(crate) description: &'static str,
}

/// Categories and the tone their pictures stand on.
pub(crate) const CATEGORIES: [(&str, &str); 5] =
    [("Table", "clay"), ("Kitchen", "slate"), ("Pantry", "honey"), ("House", "plum"), ("Garden", "leaf")];

macro_rules! products {
    ($($id:literal $category:ident $euros:literal . $cents:literal $picture:ident $name:literal, $blurb:literal, $description:literal;)*) => {
        /// The whole catalogue.
        pub(crate) const PRODUCTS: &[Seed] = &[$(Seed {
            id: $id, category: stringify!($category), name: $name, price_cents: $euros * 100 + $cents,
            picture: stringify!($picture), blurb: $blurb, description: $description,
        }),*];
    };
}

products! {
    1 Table 18 . 50 bowl "Stoneware bowl", "For soup, salad, or both hands", "Thrown by hand in grey stoneware and glazed inside only, so that it keeps its grip. Holds 0.7 l. Goes into oven and dishwasher.";
    2 Table 22 . 0 plate "Dinner plate", "Flat, wide, with a rim that holds sauce", "Stoneware, 27 cm, fired at 1,250 °C. Each one differs by a hair, which is how you know it was made.";
    3 Table 11 . 90 cup "Espresso cup", "Thick walls, small handle", "Holds 90 ml and keeps them warm. Comes with its saucer.";
    4 Table 29 . 0 carafe "Water carafe", "One litre, no drop beside the glass", "Blown glass with a cork ball for a lid. The lip is cut so that it pours and stops.";
    5 Table 34 . 0 board "Oak serving board", "One piece of wood, oiled", "Cut from a single plank of French oak and rubbed with linseed oil. 42 by 18 cm, with a hole to hang it by.";
    6 Table 26 . 0 cloth "Linen napkins, four", "Washed soft before you get them", "Pure linen, 45 cm square, hemmed with mitred corners. They get better for ten years.";
    7 Table 14 . 0 bowl "Salt cellar", "With a lid that one finger lifts", "Olive wood with a swinging lid. Stands beside the stove or on the table, and looks right on both.";
    8 Table 32 . 0 glass "Wine glasses, pair", "For everyday wine on every day", "Short stems, thin rims, 300 ml. Made to survive being used.";
    9 Kitchen 64 . 0 pan "Cast-iron pan", "Heavy, black, inherited by somebody", "26 cm across, seasoned three times with flaxseed oil. Sears, bakes, and forgives.";
    10 Kitchen 89 . 0 knife "Chef's knife", "20 cm of carbon steel", "Forged in one piece from carbon steel, with a walnut handle. Takes an edge that lasts; wants to be dried.";
    11 Kitchen 19 . 0 knife "Paring knife", "The one you reach for", "A 9 cm blade for everything small. Stainless, sharpened on both sides.";
    12 Kitchen 118 . 0 pot "Copper saucepan", "Listens to the flame", "1.5 mm of copper, tinned inside, with an iron handle. 16 cm, 1.6 l.";
    13 Kitchen 54 . 0 pot "Enamel stockpot", "Eight litres of Sunday", "Enamelled steel with a domed lid. For stock, jam, and a crowd.";
    14 Kitchen 9 . 50 spoon "Olive-wood spoon", "Scrapes the corners", "30 cm, one edge cut straight so that it reaches where round spoons do not.";
    15 Kitchen 42 . 0 mill "Pepper mill", "A grinder you can set", "Beech, with a hardened steel grinder by people who make nothing else. From dust to gravel.";
    16 Kitchen 28 . 0 can "Moka pot", "Three small cups, one loud minute", "Aluminium, for every stove but induction. Do not wash it with soap.";
    17 Kitchen 58 . 0 kettle "Stove kettle", "Whistles in a third", "Brushed steel, 1.8 l, two tones in its whistle. Works on induction.";
    18 Kitchen 7 . 90 jar "Preserving jar, 1 l", "With clip and rubber ring", "Thick glass. Jam, pickles, sourdough, buttons.";
    19 Pantry 16 . 80 bottle "Olive oil, 0.75 l", "Pressed within a day of the harvest", "From one grove of Picholine and Aglandau. Green, peppery, a little bitter: that is the good part.";
    20 Pantry 8 . 90 jar "Lavender honey", "From the plateau, in July", "400 g of pale honey that sets fine and soft. The bees did most of it.";
    21 Pantry 6 . 40 jar "Fig jam", "Six figs to a spoon, nearly", "Violet figs, cane sugar, lemon. 320 g.";
    22 Pantry 5 . 20 bag "Green lentils", "From Le Puy, no soaking", "500 g. Twenty minutes in unsalted water with a bay leaf, then oil and vinegar while warm.";
    23 Pantry 4 . 60 bag "Sea salt, coarse", "Raked by hand", "1 kg of grey salt, still a little moist, dried by nothing but wind.";
    24 Pantry 12 . 50 bottle "Red wine vinegar", "Three years in oak", "0.5 l. Made from wine that was good to begin with.";
    25 Pantry 13 . 90 tin "Black tea", "Assam, second flush", "125 g in a tin that closes. Strong, malty, takes milk.";
    26 Pantry 14 . 50 bag "Coffee beans", "Roasted on Tuesdays", "500 g from two farms in Huehuetenango. Cocoa, plum, no smoke.";
    27 Pantry 5 . 80 jar "Moutarde à l'ancienne", "Whole grain, coarse, awake", "210 g. The seeds are left whole; the vinegar is ours.";
    28 Pantry 7 . 20 tin "Smoked paprika", "Sweet, from La Vera", "75 g, dried over oak for two weeks, and it tastes of it.";
    29 House 72 . 0 cloth "Linen tablecloth", "Two metres of calm", "Washed linen, 150 by 220 cm, in undyed grey. Do not iron it.";
    30 House 129 . 0 cloth "Wool blanket", "From one flock", "Pure Merino, woven and felted, 140 by 200 cm. For the sofa, and whoever sleeps there.";
    31 House 12 . 0 candle "Beeswax candles, six", "Smell of July in January", "Dipped, not poured; 20 cm; eight hours each.";
    32 House 96 . 0 lamp "Desk lamp", "Stays where you put it", "Steel and brass, two joints, a switch with a click. Takes any E27 bulb.";
    33 House 38 . 0 basket "Willow basket", "For market, wood, or the cat", "Woven from peeled willow, with a handle for the arm. 40 by 30 cm.";
    34 House 6 . 50 soap "Savon de Marseille", "300 g of honest soap", "72 % olive oil, boiled in a kettle for ten days. For hands, floors and shirts.";
    35 House 49 . 0 clock "Wall clock", "Quiet hands", "28 cm, a beech rim, and a movement that does not tick.";
    36 House 15 . 0 book "Notebook, plain", "Lies flat, takes ink", "160 sewn pages of 100 g paper in a linen cover. A5.";
    37 Garden 16 . 0 flowerpot "Terracotta pot", "Breathes, ages, leans a little", "Rolled by hand, 22 cm, frost-proof to −15 °C.";
    38 Garden 44 . 0 can "Watering can", "Five litres, long neck", "Galvanised steel with a brass rose that comes off. Balanced when full.";
    39 Garden 21 . 0 trowel "Hand trowel", "Ash and steel", "A forged blade riveted to an ash handle. For roots, bulbs and stones.";
    40 Garden 3 . 40 packet "Tomato seeds", "Cœur de bœuf", "Thirty seeds, kept from last year's best. Sow in March, indoors.";
    41 Garden 5 . 60 twine "Garden twine", "Holds, then rots", "100 m of jute in a ball that unwinds from inside. Compost it in autumn.";
    42 Garden 3 . 20 packet "Basil seeds", "The small-leaved kind", "Three hundred seeds. They like what tomatoes like.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_numbered_and_belong_to_known_categories() {
        for (product, id) in PRODUCTS.iter().zip(1..) {
            assert_eq!(product.id, id);
            assert!(CATEGORIES.iter().any(|(name, _)| *name == product.category), "{}", product.name);
        }
    }
}
