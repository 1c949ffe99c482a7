"""Words that tell nothing of a person: those of ROI names, files and folders.

A word of a folder's or file's name, of a station or a hospital is an identifier unless
it is one of these: an ROI stays `Femoral Head` also in the file `Head_CT.dcm`. What is
missing here costs readability, and what is here too much can let a name through: no
word belongs here that is a usual name of persons.
"""

import functools

from mtl_jax.core import sites
from mtl_jax.sources.dicom import folded_text

# As in names of ROIs, after AAPM TG-263, also in German, French and Italian.
_ROI = """
gtv ctv ptv itv igtv ictv iptv prv oar rtv btv ptvs ctvs gtvs boost low high mid med
int intermediate eval opt ring rings shell avoid avoidance max min iso isocenter
isocentre target targets tumor tumour tumeur primary nodal node nodes nodule lymph
lymphnode lesion resected bed cavity margin margins part partial sub sum total union
minus plus and not without crop cropped edit edited expand exp new old test copy final
temp tmp help dummy left right lt rt lft rgt li re links rechts gauche droite bilat
bilateral ipsi contra ipsilateral contralateral both ant post anterior posterior sup
inf superior inferior lat lateral medial prox distal dist apex base level levels neck
ln lns lnn brain brainstem stem cerebellum cerebrum hippocampus hippocampi
hypothalamus pituitary pit hypophysis chiasm optic opticnrv nerve nerves nrv cn lens
lenses eye eyes orbit retina cornea lacrimal glnd gland glands parotid parotids
parotis submand submandibular sublingual thyroid larynx larynxs pharynx pharyngeal
constrictor const constrictors musc muscle muscles oral oralcavity mouth lips lip
tongue palate mandible mandibula maxilla tooth teeth tmj temporal lobe lobes cochlea
ear ears inner middle mastoid glottis glottic supraglottic esophagus oesophagus esoph
cricopharyngeus trachea bronchus bronchial carotid jugular artery vein aorta vessel
vessels lung lungs lunge lungen poumon poumons heart coeur atrium ventricle
pericardium lad coronary chest wall chestwall rib ribs sternum clavicle breast breasts
mamma brust sein nipple scar axilla axillary supraclav supraclavicular imn thorax
thoracic plexus brachial brachialplex brachialplexus spine spinal cord spinalcord
canal spinalcanal cauda equina vertebra vertebrae body sacrum sacral rückenmark myelon
medulla moelle disc liver leber foie spleen milz kidney kidneys niere nieren rein
reins renal pelvis stomach magen duodenum pancreas bile duct gallbladder bowel bowels
bowelbag bag intestine colon sigmoid jejunum ileum cecum caecum rectum rektum recto
rectal anus anal canalanal bladder blase harnblase vessie vesica prostate prostata
seminal vesicle vesicles semves ves sv urethra penile penis bulb penilebulb testis
testes ovary ovaries uterus cervix vagina vulva fossa femur femoral femurs head heads
femurhead fem hip hips hüfte hüftkopf femurkopf kopf hals acetabulum ilium iliac bone
bones marrow bonemarrow skin haut peau external extern patient outline contour
contours couch table tisch support mask bolus air gas water fat implant implants
prosthesis hardware metal metals artifact artefact artifacts clip clips fiducial
fiducials marker markers seed seeds wire wires catheter applicator foley spacer
hydrogel gel pacemaker port stent dose isodose gy cgy pct presacral mesorectum
mesorectal pelvic inguinal obturator paraaortic sib tonsil tonsils uvula vallecula
epiglottis sinus sinuses nasal nasopharynx oropharynx hypopharynx septum scalp skull
foramen globe macula ischium pubis symphysis trochanter limb arm arms leg legs hand
hands foot shoulder humerus elbow knee ankle soft tissue normal healthy whole
structure structures region volume vol ref reference dens density override a v n m
"""
# As in names of files, folders, series and stations.
_FILES = """
ct cts mr mri pet cbct mvct us xa ot rs rd rp ri rtss rtst rtstruct rtdose rtplan
rtimage rtrecord struct structureset struc structs doses plan plans planning planned
plancomp pct planungs planungsct dicom dicomdir dicomrt dcm img ima im image images
ims slice slices series serie ser se study studies studie st scan scans acq topogram
scout localizer export exports exported import imported anon anonym anonymous
anonymised anonymized data dataset input output file files folder dir patients patient
case cases fraction fractions fx course phase approved unapproved treated treatment
treat th rt radiotherapy radiation oncology strahlentherapie klinik klinikum clinic
clinics hospital hospitals university medical center centre department dept institute
institut linac linacs machine station room tx tps tcia siemens philips ge varian
elekta toshiba canon brainlab raysearch raystation eclipse monaco pinnacle oncentra
iplan mim aria mosaiq truebeam halcyon tomotherapy cyberknife axial sagittal coronal
routine native contrast post kernel thin thick recon standard default original derived
secondary main own sub backup archive readme txt pdf doc docx jpg png csv zip log json
xml yaml report reports notes note letter mm cm ml cc hu am pm ok no yes one two three
first second third last next all of on in at to by for with from the und mit der die
das
"""
# Of these not even a patient's own short name or title, such as `Mr`, hides one.
_TECHNICAL = """
gtv ctv ptv itv prv oar rt lt lft rgt ant sup inf lat max min ct mr mri pet
"""


@functools.cache
def _all() -> frozenset[str]:
    words = set(folded_text.whole_words(f"{_ROI} {_FILES}"))
    for site in sites.SITES.values():
        for structure in site.structures:
            for name in (structure.name, structure.tg263, *structure.aliases):
                words.update(folded_text.whole_words(name))
    plain = map(folded_text.without_transcriptions, words)
    return frozenset(words.union(plain))


def is_technical(word: str) -> bool:
    """Whether the folded `word` is one of few that no name may hide."""
    return word in _TECHNICAL.split()


def contains(word: str) -> bool:
    """Whether the folded `word` is ordinary, perhaps with a number: `ptv2`, `ct01`."""
    stem = word.strip("0123456789")
    return stem in _all() or len(stem) < 2
